//! Whole-system tests against real processes.
