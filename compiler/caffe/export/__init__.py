"""From a net of the language to Caffe's messages: the way back of the rows by which prototxts are read."""
