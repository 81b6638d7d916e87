"""The commands of `netc`, a module each, imported when the command is called. Flags are parsed by click."""
