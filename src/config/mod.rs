//! The JSON configuration: its model, how it is parsed, and what is refused.
