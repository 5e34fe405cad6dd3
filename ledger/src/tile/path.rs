//! Names of tiles: C2SP tlog-tiles, "Merkle Tree".

use std::fmt;

use super::TILE_WIDTH;

/// A tile by level, index and width. It displays as its path, `tile/<L>/<N>[.p/<W>]`, with the index
/// in groups of three digits: index 1234067 of level 0 is `tile/0/x001/x234/067`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// The tile level, 0 to 63: 0 holds leaf hashes.
    pub level: u8,
    /// The index within the level, from 0.
    pub index: u64,
    /// The number of hashes, 1 to 256; 256 is a full tile.
    pub width: u16,
}

impl TileId {
    /// Reads a path as C2SP tlog-tiles writes it, without a leading slash; none for anything else,
    /// other spellings of the same tile included.
    pub fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("tile/")?;
        let (level, rest) = rest.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, number(width, 3)?),
            None => (rest, u64::from(TILE_WIDTH)),
        };
        let tile = TileId {
            level: u8::try_from(number(level, 2)?)
                .ok()
                .filter(|level| *level <= 63)?,
            index: index.split('/').try_fold(0u64, |sum, group| {
                let digits = group.strip_prefix('x').unwrap_or(group);
                (digits.len() == 3).then_some(())?;
                sum.checked_mul(1000)?.checked_add(digits_value(digits)?)
            })?,
            width: u16::try_from(width)
                .ok()
                .filter(|width| (1..=TILE_WIDTH).contains(width))?,
        };
        // One tile, one path: a cache must not hold it under a second name.
        (tile.to_string() == path).then_some(tile)
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        let mut divisor = 1u64;
        while self.index / divisor >= 1000 {
            divisor *= 1000;
        }
        while divisor > 1 {
            write!(f, "x{:03}/", self.index / divisor % 1000)?;
            divisor /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.width < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// A decimal number of at most `digits` digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    (1..=digits)
        .contains(&text.len())
        .then(|| digits_value(text))
        .flatten()
}

fn digits_value(digits: &str) -> Option<u64> {
    digits.bytes().try_fold(0u64, |sum, digit| {
        digit.is_ascii_digit().then_some(())?;
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}
