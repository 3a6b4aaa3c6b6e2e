//! The memory wing: everything in this process, gone at exit.
