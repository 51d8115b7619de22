//! Planted curves.
