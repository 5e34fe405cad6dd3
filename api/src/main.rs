//! batchcortex api

fn main() {}
