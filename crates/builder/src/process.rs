//! Child processes: the one place that starts them, reads them and ends their groups.
