//! Workflows: graphs of tasks.
