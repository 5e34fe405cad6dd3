//! Lower-case hexadecimal, fast enough not to be what verification waits for.

/// Appends the lower-case hexadecimal of `bytes`.
pub fn encode(bytes: &[u8], into: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    into.reserve(2 * bytes.len());
    for byte in bytes {
        into.push(char::from(DIGITS[usize::from(byte >> 4)]));
        into.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Replaces `into` by the bytes of lower-case hexadecimal; false, with `into` unspecified, for anything
/// else. Capital letters are refused: they would be a second spelling.
#[must_use]
pub fn decode(digits: &[u8], into: &mut Vec<u8>) -> bool {
    into.clear();
    into.resize(digits.len() / 2, 0);
    decode_to(digits, into)
}

/// As [`decode`], for a known number of bytes.
#[must_use]
pub(super) fn decode_to(digits: &[u8], into: &mut [u8]) -> bool {
    if digits.len() != 2 * into.len() {
        return false;
    }
    let (chunks, rest) = digits.as_chunks::<32>();
    let (outs, out_rest) = into.as_chunks_mut::<16>();
    let mut bad = 0u8;
    // Loops of a fixed length without a branch: the compiler makes vector instructions of them.
    for (chunk, out) in chunks.iter().zip(outs) {
        let mut values = [0u8; 32];
        for (value, digit) in values.iter_mut().zip(chunk) {
            let (nibble, wrong) = nibble(*digit);
            *value = nibble;
            bad |= wrong;
        }
        for (byte, pair) in out.iter_mut().zip(values.as_chunks::<2>().0) {
            *byte = pair[0] << 4 | pair[1];
        }
    }
    for (pair, byte) in rest.as_chunks::<2>().0.iter().zip(out_rest) {
        let (high, wrong_high) = nibble(pair[0]);
        let (low, wrong_low) = nibble(pair[1]);
        bad |= wrong_high | wrong_low;
        *byte = high << 4 | low;
    }
    bad == 0
}

/// The value of a digit, and something other than zero unless it is one.
#[inline(always)]
fn nibble(digit: u8) -> (u8, u8) {
    let number = digit.wrapping_sub(b'0');
    let letter = digit.wrapping_sub(b'a');
    let (is_number, is_letter) = (number < 10, letter < 6);
    let value = if is_number {
        number
    } else {
        letter.wrapping_add(10)
    };
    (value & 15, u8::from(!(is_number | is_letter)))
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn every_byte_and_no_other_spelling() {
        let bytes: Vec<u8> = (0..=255).cycle().take(600).collect();
        for length in 0..bytes.len() {
            let mut text = String::new();
            encode(&bytes[..length], &mut text);
            let mut back = Vec::new();
            assert!(decode(text.as_bytes(), &mut back));
            assert_eq!(back, &bytes[..length]);
        }
        for position in 0..80 {
            for wrong in (0..=255u8).filter(|c| !c.is_ascii_digit() && !(b'a'..=b'f').contains(c)) {
                let mut text = [b'7'; 80];
                text[position] = wrong;
                assert!(!decode(&text, &mut Vec::new()), "{wrong:#x} at {position}");
            }
        }
        assert!(!decode(b"abc", &mut Vec::new()));
    }
}
