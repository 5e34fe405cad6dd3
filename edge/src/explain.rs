//! An error and its causes in one line.

use std::error::Error;

/// The message of an error, followed by the message of each cause that it does not repeat already.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn each_cause_is_said_once() {
        let cause = |text, source| Some(Box::new(Layer { text, source }));
        let error = Layer {
            text: "cannot read x: gone",
            source: cause("gone", cause("disk 7", None)),
        };
        assert_eq!(explain(&error), "cannot read x: gone: disk 7");
    }
}
