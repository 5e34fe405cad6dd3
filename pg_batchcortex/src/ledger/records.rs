//! Which record each leaf of a level-0 tile stands for: relation id (2 bytes), key length (2 bytes), key; big-endian.

/// Adds one record to a tile's list. None when the relation id or the key does not fit.
pub fn push(list: &mut Vec<u8>, relation_id: u32, key: &[u8]) -> Option<()> {
    list.extend_from_slice(&u16::try_from(relation_id).ok()?.to_be_bytes());
    list.extend_from_slice(&u16::try_from(key.len()).ok()?.to_be_bytes());
    list.extend_from_slice(key);
    Some(())
}

/// The records of a tile in the order of its leaves: relation id and key. None when the list is damaged.
pub fn parse(mut list: &[u8]) -> Option<Vec<(u32, &[u8])>> {
    let mut records = Vec::with_capacity(256);
    while !list.is_empty() {
        let relation = u16::from_be_bytes(list.get(..2)?.try_into().ok()?);
        let length = usize::from(u16::from_be_bytes(list.get(2..4)?.try_into().ok()?));
        records.push((u32::from(relation), list.get(4..4 + length)?));
        list = &list[4 + length..];
    }
    Some(records)
}

/// Where the list of the first `count` records ends.
pub fn end_of(list: &[u8], count: usize) -> Option<usize> {
    let mut at = 0;
    for _ in 0..count {
        at += 4 + usize::from(u16::from_be_bytes(list.get(at + 2..at + 4)?.try_into().ok()?));
    }
    (at <= list.len()).then_some(at)
}
