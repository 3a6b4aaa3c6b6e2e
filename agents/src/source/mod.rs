//! Documents as sources.
