//! Which statements a dump in plain format may hold: the shapes that pg_dump writes, in its own spelling. What it would not write is named:
//! whoever restores the dump would run it.
//!
//! It is no cage: functions and expressions of a dump are code that its owner wrote, and run when the dump is restored.

/// What a statement does that pg_dump would not have it do; none when its shape is one of pg_dump's. `protected` says whether the rows of a
/// table, schema first, are records.
pub fn objection(text: &str, protected: impl Fn(&[String]) -> bool) -> Option<&'static str> {
    let judged = match text.split(' ').next().unwrap_or_default() {
        "" | "BEGIN" | "COMMIT" if !text.contains(' ') => true,
        "SET" => setting(text),
        "SELECT" => call(text),
        "CREATE" => create(text),
        "ALTER" if text.starts_with("ALTER TABLE ") => return alter_table(text, protected),
        "ALTER" => alter(text),
        "REFRESH" => like(text, "REFRESH MATERIALIZED VIEW %").is_some(),
        "COMMENT" | "SECURITY" => ["COMMENT ON ", "SECURITY LABEL "]
            .iter()
            .any(|begin| text.starts_with(begin)),
        // Of privileges, not of roles.
        "GRANT" | "REVOKE" => bare(text).contains(" ON "),
        _ => false,
    };
    (!judged).then_some("no statement that pg_dump writes")
}

/// Whether a command is one that pg_dump gives to psql.
pub fn is_known_command(text: &str) -> bool {
    let of = |text: &str, more: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(c))
    };
    if let Some(database) = text.strip_prefix("\\connect -reuse-previous=on \"dbname='") {
        return database
            .strip_suffix("'\"")
            .is_some_and(|database| of(database, ".- "));
    }
    ["\\restrict ", "\\unrestrict ", "\\connect "]
        .iter()
        .any(|command| text.strip_prefix(command).is_some_and(|rest| of(rest, ".")))
}

/// A name as a dump spells it: its parts, as PostgreSQL reads them, and what follows.
pub fn name(text: &str) -> Option<(Vec<String>, &str)> {
    let (mut parts, mut rest) = (Vec::new(), text);
    loop {
        let (part, after) = part(rest)?;
        parts.push(part);
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None => return Some((parts, after)),
        }
    }
}

/// One part of a name.
pub fn part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()))
            .unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_ascii_lowercase(), &text[end..]));
    };
    let mut part = String::new();
    let mut rest = quoted;
    loop {
        let (before, after) = rest.split_once('"')?;
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, after)),
        }
    }
}

/// The names at each `%` and the rest at a final `*`, when the text is of that pattern. Words of the pattern stand for themselves.
fn like<'a>(text: &'a str, pattern: &str) -> Option<(Vec<Vec<String>>, &'a str)> {
    let (mut names, mut rest) = (Vec::new(), text);
    for (position, word) in pattern.split(' ').enumerate() {
        if word == "*" {
            return Some((names, rest.trim_start()));
        }
        if position > 0 {
            rest = rest.strip_prefix(' ')?;
        }
        if word == "%" {
            let (found, after) = name(rest)?;
            // A database before the schema is not pg_dump's way.
            if found.len() > 2 {
                return None;
            }
            names.push(found);
            rest = after;
        } else {
            rest = rest.strip_prefix(word)?;
            if !(rest.is_empty() || rest.starts_with(' ')) {
                return None;
            }
        }
    }
    rest.is_empty().then_some((names, rest))
}

/// The text with what is quoted left out, and what is in parentheses: `a (b) 'c'` becomes `a () ''`.
fn bare(text: &str) -> String {
    let (mut bare, mut depth, mut rest) = (String::new(), 0u32, text);
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '\'' | '"' => {
                let escapes = next == '\'' && (rest.len() < text.len()) && {
                    let before = &text[..text.len() - rest.len()];
                    let word = before.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next();
                    word.is_some_and(|word| word.eq_ignore_ascii_case("e"))
                };
                quoted(rest, next, escapes)
            }
            '$' => dollar_quoted(rest),
            _ => 0,
        };
        if length > 0 {
            if depth == 0 {
                bare.push_str("''");
            }
            rest = &rest[length..];
            continue;
        }
        match next {
            '(' => {
                if depth == 0 {
                    bare.push('(');
                }
                depth += 1;
            }
            ')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    bare.push(')');
                }
            }
            other if depth == 0 => bare.push(other),
            _ => {}
        }
        rest = &rest[next.len_utf8()..];
    }
    bare
}

fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, next)) = characters.next() {
        if escapes && next == '\\' {
            characters.next();
        } else if next == quote {
            if characters.peek().is_some_and(|(_, after)| *after == quote) {
                characters.next();
            } else {
                return at + 1;
            }
        }
    }
    text.len()
}

fn dollar_quoted(text: &str) -> usize {
    let Some(end) = text[1..].find('$').map(|end| end + 2) else {
        return 0;
    };
    let tag = &text[..end];
    let inner = &tag[1..end - 1];
    if inner.starts_with(|c: char| c.is_ascii_digit())
        || !inner.chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        return 0;
    }
    text[end..].find(tag).map_or(0, |at| end + at + tag.len())
}

fn is_own(name: &[String]) -> bool {
    name.len() == 2 && name[0] == "batchcortex"
}

fn setting(text: &str) -> bool {
    const SETTINGS: [&str; 14] = [
        "SET statement_timeout = 0",
        "SET lock_timeout = 0",
        "SET idle_in_transaction_session_timeout = 0",
        "SET transaction_timeout = 0",
        "SET client_encoding = 'UTF8'",
        "SET standard_conforming_strings = on",
        "SET check_function_bodies = false",
        "SET xmloption = content",
        "SET client_min_messages = warning",
        "SET row_security = off",
        "SET row_security = on",
        "SET default_tablespace = ''",
        "SET default_table_access_method = heap",
        "SET default_table_access_method = ''",
    ];
    SETTINGS.contains(&text) || like(text, "SET default_tablespace = %").is_some()
}

/// Calls with literals alone: sequences and large objects.
fn call(text: &str) -> bool {
    if text == "SELECT pg_catalog.set_config('search_path', '', false)" {
        return true;
    }
    if let Some(rest) = text.strip_prefix("SELECT pg_catalog.setval('") {
        let tail = rest
            .split_once("', ")
            .map(|(name, tail)| (name.contains('\''), tail));
        return tail.is_some_and(|(quotes, tail)| {
            let number = tail
                .strip_suffix(", true)")
                .or_else(|| tail.strip_suffix(", false)"));
            !quotes && number.is_some_and(|number| number.parse::<i64>().is_ok())
        });
    }
    let object = ["lo_create('", "lo_open('", "lowrite(", "lo_close("]
        .iter()
        .find_map(|function| {
            text.strip_prefix("SELECT pg_catalog.")?
                .strip_prefix(function)?
                .strip_suffix(')')
        });
    object.is_some_and(|literals| {
        literals
            .chars()
            .all(|c| c.is_ascii_hexdigit() || "x\\', ".contains(c))
    })
}

fn create(text: &str) -> bool {
    const ANY: [&str; 24] = [
        "SEQUENCE",
        "INDEX",
        "UNIQUE INDEX",
        "VIEW",
        "POLICY",
        "EVENT TRIGGER",
        "TYPE",
        "DOMAIN",
        "CAST",
        "COLLATION",
        "CONVERSION",
        "OPERATOR",
        "PROCEDURAL LANGUAGE",
        "TRUSTED PROCEDURAL LANGUAGE",
        "STATISTICS",
        "PUBLICATION",
        "SUBSCRIPTION",
        "SERVER",
        "USER MAPPING",
        "TEXT SEARCH",
        "TRANSFORM",
        "ACCESS METHOD",
        "FOREIGN DATA WRAPPER",
        "DATABASE",
    ];
    if like(text, "CREATE SCHEMA %").is_some()
        || like(text, "CREATE EXTENSION IF NOT EXISTS % WITH SCHEMA %").is_some()
        || like(text, "CREATE EXTENSION IF NOT EXISTS %").is_some()
    {
        return true;
    }
    for kind in ["TABLE", "UNLOGGED TABLE", "FOREIGN TABLE"] {
        if let Some((_, rest)) = like(text, &format!("CREATE {kind} % *")) {
            // A table, and not what a query gives.
            let shape = bare(rest);
            return (shape.starts_with('(') || shape.starts_with("OF ")) && !shape.contains(" AS ");
        }
    }
    if like(text, "CREATE MATERIALIZED VIEW % *").is_some() {
        return bare(text).ends_with(" WITH NO DATA");
    }
    for kind in ["FUNCTION", "PROCEDURE", "AGGREGATE"] {
        // BatchCortex's own functions come with the extension.
        if let Some(rest) = text.strip_prefix(&format!("CREATE {kind} ")) {
            return name(rest).is_some_and(|(name, _)| name.len() == 2 && !is_own(&name));
        }
    }
    if let Some((names, _)) = like(text, "CREATE RULE % AS ON % TO % *") {
        return !is_own(&names[2]);
    }
    for kind in ["TRIGGER", "CONSTRAINT TRIGGER"] {
        if like(text, &format!("CREATE {kind} % *")).is_some() {
            return trigger(text);
        }
    }
    ANY.iter()
        .any(|kind| like(text, &format!("CREATE {kind} *")).is_some())
}

/// A trigger of one of BatchCortex's own tables runs a function of BatchCortex.
fn trigger(text: &str) -> bool {
    let on = text.split(" ON ").skip(1).filter_map(name).map(|(name, _)| name);
    let outside = bare(text);
    let runs_own = outside
        .rsplit_once(" EXECUTE FUNCTION ")
        .and_then(|(_, rest)| name(rest))
        .is_some_and(|(function, _)| is_own(&function));
    let mut tables = on.peekable();
    tables.peek().is_some() && (runs_own || !tables.any(|table| is_own(&table) || table.len() > 2))
}

fn alter_table(text: &str, protected: impl Fn(&[String]) -> bool) -> Option<&'static str> {
    const NOT_PG_DUMP: Option<&str> = Some("no statement that pg_dump writes");
    const COLUMN: [&str; 8] = [
        "SET DEFAULT ",
        "SET STORAGE ",
        "SET STATISTICS ",
        "SET NOT NULL",
        "SET (",
        "SET COMPRESSION ",
        "ADD GENERATED ",
        "OPTIONS (",
    ];
    const ACTIONS: [&str; 14] = [
        "OWNER TO ",
        "ADD CONSTRAINT ",
        "ENABLE ROW LEVEL SECURITY",
        "FORCE ROW LEVEL SECURITY",
        "ENABLE ALWAYS TRIGGER ",
        "ENABLE REPLICA TRIGGER ",
        "ENABLE ALWAYS RULE ",
        "ENABLE REPLICA RULE ",
        "REPLICA IDENTITY ",
        "ATTACH PARTITION ",
        "CLUSTER ON ",
        "INHERIT ",
        "SET (",
        "SET WITHOUT OIDS",
    ];
    let Some((names, action)) = like(text, "ALTER TABLE ONLY % *").or_else(|| like(text, "ALTER TABLE % *"))
    else {
        return NOT_PG_DUMP;
    };
    // One action a statement.
    if bare(action).contains(',') {
        return NOT_PG_DUMP;
    }
    let switched_off = ["DISABLE TRIGGER ", "DISABLE RULE "]
        .iter()
        .any(|off| action.starts_with(off));
    if switched_off {
        return (is_own(&names[0]) || protected(&names[0]) || names[0].len() < 2)
            .then_some("what protects a table of records is switched off");
    }
    let column = action.strip_prefix("ALTER COLUMN ").and_then(part);
    let known = match column {
        Some((_, change)) => COLUMN.iter().any(|known| {
            change
                .strip_prefix(' ')
                .is_some_and(|change| change.starts_with(known))
        }),
        None => ACTIONS.iter().any(|known| action.starts_with(known)),
    };
    if known { None } else { NOT_PG_DUMP }
}

fn alter(text: &str) -> bool {
    const SHAPES: [&str; 15] = [
        "ALTER INDEX % ATTACH PARTITION %",
        "ALTER INDEX % ALTER COLUMN % SET STATISTICS %",
        "ALTER SEQUENCE % OWNED BY *",
        "ALTER DEFAULT PRIVILEGES *",
        "ALTER DATABASE *",
        "ALTER PUBLICATION % ADD TABLE *",
        "ALTER PUBLICATION % ADD TABLES IN SCHEMA *",
        "ALTER EVENT TRIGGER % ENABLE ALWAYS",
        "ALTER EVENT TRIGGER % ENABLE REPLICA",
        "ALTER OPERATOR FAMILY % *",
        "ALTER TEXT SEARCH CONFIGURATION % ADD MAPPING *",
        "ALTER STATISTICS % SET STATISTICS %",
        "ALTER DOMAIN % ADD CONSTRAINT *",
        "ALTER VIEW % ALTER COLUMN % SET DEFAULT *",
        "ALTER FOREIGN TABLE % ALTER COLUMN % OPTIONS *",
    ];
    let of_a_role = ["ALTER ROLE ", "ALTER USER ", "ALTER GROUP ", "ALTER SYSTEM "];
    if of_a_role.iter().any(|begin| text.starts_with(begin)) {
        return false;
    }
    SHAPES.iter().any(|shape| like(text, shape).is_some())
        || text
            .rsplit_once(" OWNER TO ")
            .is_some_and(|(_, owner)| name(owner).is_some_and(|(_, rest)| rest.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::{is_known_command, objection};

    fn passes(text: &str) -> bool {
        objection(text, |table| table == ["weighing", "scale"]).is_none()
    }

    #[test]
    fn what_pg_dump_writes_passes() {
        for text in [
            "SET row_security = off",
            "SELECT pg_catalog.set_config('search_path', '', false)",
            "SELECT pg_catalog.setval('weighing.\"a b_seq\"', 17, true)",
            "SELECT pg_catalog.lowrite(0, '\\x00ff')",
            "CREATE TABLE weighing.scale ( n integer DEFAULT 1 NOT NULL, CONSTRAINT c CHECK ((n > 0)) )",
            "CREATE TABLE weighing.scale ( n integer ) PARTITION BY RANGE (n)",
            "CREATE MATERIALIZED VIEW weighing.m AS SELECT 1 WITH NO DATA",
            "CREATE FUNCTION weighing.f(a integer) RETURNS void LANGUAGE sql AS $$ DROP TABLE x $$",
            "CREATE TRIGGER t BEFORE DELETE OR UPDATE ON batchcortex.batch FOR EACH ROW EXECUTE FUNCTION batchcortex.keep_rows()",
            "CREATE TRIGGER t AFTER UPDATE OF \"a\" ON weighing.scale FOR EACH ROW EXECUTE FUNCTION weighing.f()",
            "ALTER TABLE ONLY batchcortex.tag ADD CONSTRAINT tag_pkey PRIMARY KEY (org_id, tag_id)",
            "ALTER TABLE batchcortex.tag ENABLE ALWAYS TRIGGER keep_rows",
            "ALTER TABLE weighing.other DISABLE TRIGGER t",
            "ALTER TABLE ONLY weighing.scale ALTER COLUMN \"k, g\" SET DEFAULT nextval('weighing.s'::regclass)",
            "ALTER FUNCTION weighing.f(a integer) OWNER TO \"some one\"",
            "GRANT SELECT,INSERT ON TABLE batchcortex.tag TO batchcortex_owner",
            "COMMENT ON TABLE weighing.scale IS 'it''s; DROP TABLE x'",
        ] {
            assert!(passes(text), "{text}");
        }
        assert!(is_known_command("\\restrict aB3") && is_known_command("\\connect plant"));
        assert!(is_known_command(
            "\\connect -reuse-previous=on \"dbname='batch-plant 1'\""
        ));
    }

    #[test]
    fn what_it_would_not_write_is_named() {
        for text in [
            "UPDATE batchcortex.events_log SET reason = 'x'",
            "update batchcortex.events_log set reason = 'x'",
            "DELETE FROM batchcortex.events_log",
            "INSERT INTO batchcortex.organisation VALUES (1)",
            "DROP TABLE batchcortex.events_log",
            "TRUNCATE weighing.scale",
            "DO $$ BEGIN END $$",
            "CALL weighing.p()",
            "SET session_replication_role = replica",
            "SET standard_conforming_strings = off",
            "SET client_encoding = 'SJIS'",
            "SET ROLE batchcortex_owner",
            "SELECT weighing.f()",
            "SELECT pg_catalog.setval('x', weighing.f(), true)",
            "SELECT pg_catalog.setval('x', 1, true) FROM (SELECT weighing.f(), 1, true)",
            "SELECT pg_catalog.lo_import('/etc/passwd')",
            "CREATE TABLE weighing.x AS SELECT weighing.f()",
            "CREATE TABLE weighing.x (a) AS SELECT weighing.f()",
            "CREATE SCHEMA x CREATE TABLE y ()",
            "CREATE MATERIALIZED VIEW weighing.m AS SELECT weighing.f()",
            "CREATE FUNCTION batchcortex.verify() RETURNS void LANGUAGE sql AS ''",
            "CREATE OR REPLACE FUNCTION weighing.f() RETURNS void LANGUAGE sql AS ''",
            "CREATE FUNCTION \"batchcortex\".f() RETURNS void LANGUAGE sql AS ''",
            "CREATE RULE r AS ON UPDATE TO batchcortex.tag DO INSTEAD NOTHING",
            "CREATE RULE r AS ON UPDATE TO Batchcortex.tag DO INSTEAD NOTHING",
            "CREATE TRIGGER t AFTER INSERT ON batchcortex.tag FOR EACH ROW EXECUTE FUNCTION weighing.f()",
            "CREATE TRIGGER t AFTER INSERT ON BATCHCORTEX.tag FOR EACH ROW EXECUTE FUNCTION weighing.f()",
            "CREATE TRIGGER t AFTER INSERT ON plant.batchcortex.tag FOR EACH ROW EXECUTE FUNCTION weighing.f()",
            "ALTER TABLE batchcortex.events_log DISABLE TRIGGER ALL",
            "ALTER TABLE weighing.scale DISABLE TRIGGER ALL",
            "ALTER TABLE ONLY batchcortex.tag ADD CONSTRAINT c CHECK (true), DISABLE TRIGGER ALL",
            "ALTER TABLE batchcortex.tag ENABLE TRIGGER ALL",
            "ALTER TABLE batchcortex.tag DROP COLUMN name",
            "ALTER TABLE batchcortex.tag NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE batchcortex.tag ALTER COLUMN name TYPE text USING weighing.f()",
            "ALTER TABLE batchcortex.tag RENAME TO x",
            "ALTER ROLE eve SUPERUSER",
            "ALTER SYSTEM SET fsync = off",
            "GRANT batchcortex_owner TO eve",
            "COPY weighing.scale FROM PROGRAM 'id'",
            "COPY weighing.scale TO '/tmp/x'",
        ] {
            assert!(!passes(text), "{text}");
        }
        for command in [
            "\\! id",
            "\\i x.sql",
            "\\restrict",
            "\\connect \"x\" host=elsewhere",
            "\\connect -reuse-previous=on \"dbname='x' host='elsewhere'\"",
            "\\restrict a; \\! id",
            "\\gexec",
            "\\o /tmp/x",
        ] {
            assert!(!is_known_command(command), "{command}");
        }
    }
}
