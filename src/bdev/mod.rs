//! Block devices: the trait, and one backend per file.
