"""Caffe's nets and solvers as syntax trees of `.net`, which the one builder then builds."""
