//! The gaps of a walk.

/// The perfect, aligned subtrees that leaves `first..end` consist of, from the left: (first leaf, level)
/// of each, O(log `end`) of them. What a writer puts in place of leaves that it leaves out.
pub fn subtrees(first: u64, end: u64) -> impl Iterator<Item = (u64, u8)> {
    let mut next = first;
    std::iter::from_fn(move || {
        let rest = end.checked_sub(next).filter(|rest| *rest > 0)?;
        let aligned = if next == 0 { 63 } else { next.trailing_zeros() };
        let level = aligned.min(rest.ilog2());
        let start = next;
        next += 1 << level;
        Some((start, level as u8))
    })
}
