"""The examples, which come with netc: `netc new --list` names them; `gallery.toml` describes each."""
