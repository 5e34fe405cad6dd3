//! The statements of a dump beside its rows, cut where psql cuts them: what a dump runs when it is restored is what psql reads.

/// What stands between the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A statement, without comments and with single spaces outside of quotes, and without its semicolon.
    Statement { line: u64, text: String },
    /// A command to psql itself, from its backslash to the end of the line.
    Command { line: u64, text: String },
}

/// Inside of what the next character is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Plain,
    /// `'…'`, with backslash escapes in `E'…'`.
    Text {
        escapes: bool,
    },
    /// `"…"`
    Name,
    /// `$tag$…$tag$`
    Dollar(String),
    /// `/* … */`, which nests.
    Comment(u32),
}

/// Cuts lines into pieces. It follows psql's own scanner (psqlscan.l) with standard_conforming_strings on.
#[derive(Debug)]
pub struct Scanner {
    place: Place,
    text: String,
    begun: u64,
    parentheses: u32,
    /// First words of the statement, for bodies of functions in SQL: `BEGIN ATOMIC … ; … END`.
    words: Vec<String>,
    blocks: u32,
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner {
            place: Place::Plain,
            text: String::new(),
            begun: 0,
            parentheses: 0,
            words: Vec::new(),
            blocks: 0,
        }
    }
}

impl Scanner {
    /// Whether a statement may begin here.
    pub fn is_between(&self) -> bool {
        self.place == Place::Plain && self.text.trim().is_empty() && self.parentheses == 0 && self.blocks == 0
    }

    /// The line on which an unfinished statement began.
    pub fn unfinished(&self) -> Option<u64> {
        (!self.is_between()).then_some(self.begun)
    }

    /// Takes a line and gives what ends in it.
    pub fn line(&mut self, number: u64, line: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut rest = line;
        while let Some(next) = rest.chars().next() {
            let taken = match self.place.clone() {
                Place::Plain => match self.plain(number, rest, &mut pieces) {
                    Some(taken) => taken,
                    None => break,
                },
                Place::Text { escapes } => {
                    if rest.starts_with("''") || (escapes && next == '\\') {
                        let after = rest.chars().nth(1).map_or(0, char::len_utf8);
                        next.len_utf8() + after
                    } else {
                        if next == '\'' {
                            self.place = Place::Plain;
                        }
                        next.len_utf8()
                    }
                }
                Place::Name => {
                    if next == '"' {
                        self.place = Place::Plain;
                    }
                    next.len_utf8()
                }
                Place::Dollar(tag) => {
                    if rest.starts_with(&tag) {
                        self.place = Place::Plain;
                        tag.len()
                    } else {
                        next.len_utf8()
                    }
                }
                Place::Comment(depth) => {
                    let (taken, depth) = if rest.starts_with("/*") {
                        (2, depth + 1)
                    } else if rest.starts_with("*/") {
                        (2, depth - 1)
                    } else {
                        (next.len_utf8(), depth)
                    };
                    self.place = match depth {
                        0 => Place::Plain,
                        depth => Place::Comment(depth),
                    };
                    // A comment is a space.
                    self.space();
                    rest = &rest[taken..];
                    continue;
                }
            };
            if matches!(self.place, Place::Comment(_)) {
                self.space();
            } else if self.place != Place::Plain || !matches!(next, ' ' | '\t' | '\r' | '\x0b' | '\x0c' | ';')
            {
                self.text.push_str(&rest[..taken]);
            }
            rest = &rest[taken..];
        }
        match self.place {
            Place::Plain | Place::Comment(_) => self.space(),
            _ => self.text.push('\n'),
        }
        pieces
    }

    fn space(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
    }

    /// Outside of quotes and comments: how many bytes belong together; none when the rest of the line is nothing.
    fn plain(&mut self, number: u64, rest: &str, pieces: &mut Vec<Piece>) -> Option<usize> {
        let next = rest.chars().next()?;
        if self.text.trim().is_empty() {
            self.begun = number;
        }
        if rest.starts_with("--") {
            return None;
        }
        if rest.starts_with("/*") {
            self.place = Place::Comment(1);
            return Some(2);
        }
        match next {
            ' ' | '\t' | '\r' | '\x0b' | '\x0c' => self.space(),
            '\\' => {
                pieces.push(Piece::Command {
                    line: number,
                    text: rest.to_owned(),
                });
                return None;
            }
            '\'' => self.place = Place::Text { escapes: false },
            '"' => self.place = Place::Name,
            '(' => self.parentheses += 1,
            ')' => self.parentheses = self.parentheses.saturating_sub(1),
            '$' => {
                if let Some(tag) = dollar(rest) {
                    self.place = Place::Dollar(tag.to_owned());
                    return Some(tag.len());
                }
            }
            ';' if self.parentheses == 0 && self.blocks == 0 => {
                pieces.push(Piece::Statement {
                    line: self.begun,
                    text: std::mem::take(&mut self.text).trim_end().to_owned(),
                });
                self.words.clear();
            }
            ';' => self.text.push(';'),
            c if c.is_ascii_alphabetic() || c == '_' || !c.is_ascii() => {
                let end = rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()))
                    .unwrap_or(rest.len());
                let word = &rest[..end];
                if rest[end..].starts_with('\'') && word.eq_ignore_ascii_case("e") {
                    self.place = Place::Text { escapes: true };
                    return Some(end + 1);
                }
                self.word(word);
                return Some(end);
            }
            c if c.is_ascii_digit() => {
                let end = rest
                    .find(|c: char| !c.is_ascii_digit() && c != '.')
                    .unwrap_or(rest.len());
                // Versions of psql differ on what that is: no dump has it.
                if rest[end..].starts_with(['e', 'E']) && rest[end + 1..].starts_with('\'') {
                    pieces.push(Piece::Command {
                        line: number,
                        text: rest.to_owned(),
                    });
                    return None;
                }
                return Some(end);
            }
            _ => {}
        }
        Some(next.len_utf8())
    }

    /// Semicolons in the body of a function in SQL end no statement.
    fn word(&mut self, word: &str) {
        let word = word.to_ascii_lowercase();
        if self.words.len() < 4 {
            self.words.push(word.clone());
        }
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let body = matches!(
            words[..],
            ["create", "function" | "procedure", ..]
                | ["create", "or", "replace", "function" | "procedure", ..]
        );
        match word.as_str() {
            "begin" if body && self.parentheses == 0 => self.blocks += 1,
            "case" if body && self.parentheses == 0 && self.blocks > 0 => self.blocks += 1,
            "end" if body && self.parentheses == 0 => self.blocks = self.blocks.saturating_sub(1),
            _ => {}
        }
    }
}

/// The opening `$tag$`, if there is one.
fn dollar(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 1;
    let tag = &rest[1..end];
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    (tag.chars().all(fits) && !tag.starts_with(|c: char| c.is_ascii_digit())).then_some(&rest[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> (Vec<String>, bool) {
        let mut scanner = Scanner::default();
        let pieces = (1..)
            .zip(text.split('\n'))
            .flat_map(|(number, line)| scanner.line(number, line))
            .map(|piece| match piece {
                Piece::Statement { line, text } | Piece::Command { line, text } => format!("{line} {text}"),
            })
            .collect();
        (pieces, scanner.is_between())
    }

    #[test]
    fn statements_end_where_psql_ends_them() {
        for (text, expected) in [
            (
                "SET a = 1;\n\nSET\n  b = 2; SET c=3;",
                &["1 SET a = 1", "3 SET b = 2", "4 SET c=3"][..],
            ),
            ("-- a; b\nX /* ; /* ; */ ; */ Y;", &["2 X Y"]),
            ("X 'a;''b\\'; Y '\n;  z';", &["1 X 'a;''b\\'", "1 Y '\n;  z'"]),
            ("X E'a\\';b'; Y;", &["1 X E'a\\';b'", "1 Y"]),
            ("X \"a;\"\"b\" ; Y \"\n;\";", &["1 X \"a;\"\"b\"", "1 Y \"\n;\""]),
            (
                "X $$a;$b$;$$; Y $b$;$$\n;$b$; Z a$b$c;",
                &["1 X $$a;$b$;$$", "1 Y $b$;$$\n;$b$", "2 Z a$b$c"],
            ),
            (
                "CREATE RULE r AS ON INSERT TO t DO ALSO (a; b); Y;",
                &["1 CREATE RULE r AS ON INSERT TO t DO ALSO (a; b)", "1 Y"],
            ),
            (
                "CREATE FUNCTION f() RETURNS int\n BEGIN ATOMIC\n SELECT CASE WHEN a THEN b END;\n SELECT 1;\nEND;\nY;",
                &[
                    "1 CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN b END; SELECT 1; END",
                    "6 Y",
                ],
            ),
            ("BEGIN; X; END;", &["1 BEGIN", "1 X", "1 END"]),
            ("X \\! id; Y;\n;", &["1 \\! id; Y;", "1 X"]),
            ("X \u{e9}$a$ ;", &["1 X \u{e9}$a$"]),
            ("X 1E'\\'; Y;\n;", &["1 1E'\\'; Y;", "1 X"]),
        ] {
            let (pieces, whole) = cut(text);
            let expected: Vec<String> = expected.iter().map(|piece| (*piece).to_owned()).collect();
            assert_eq!((pieces, whole), (expected, true), "{text}");
        }
        for open in [
            "X",
            "'",
            "\"",
            "$$",
            "/*",
            "X (\n;",
            "CREATE FUNCTION f() BEGIN ATOMIC x;",
        ] {
            assert!(!cut(open).1, "{open}");
        }
    }

    #[test]
    fn no_text_panics() {
        let mut seed = 1u32;
        for _ in 0..20_000 {
            let text: String = (0..12)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    [
                        '\'', '"', '$', 'a', '\\', '-', '/', '*', ';', '(', ')', '\n', 'E', '\u{e9}', '1',
                        ' ',
                    ][(seed >> 16) as usize % 16]
                })
                .collect();
            cut(&text);
        }
    }
}
