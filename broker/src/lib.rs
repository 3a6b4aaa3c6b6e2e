//! What Callboard's agents say to each other, and how it gets there.
