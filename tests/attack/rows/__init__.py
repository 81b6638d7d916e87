"""The rows of the table of readers, by what they read: texts, data, and artifacts of netc itself."""
