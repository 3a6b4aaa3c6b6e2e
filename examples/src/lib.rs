//! One file each, offline, using only the facade.
