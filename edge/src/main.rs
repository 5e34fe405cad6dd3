//! batchcortex edge

fn main() {}
