//! The extractive engine.
