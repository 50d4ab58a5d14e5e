//! Reading a template of keys: what may stand in one, and why.

use super::{Field, KeyTemplate, Piece};

impl KeyTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub fn parse(template: &str) -> Result<Self, String> {
        let this = Self(pieces(template)?);
        if !this.uses(Field::Name) && !this.uses(Field::CallId) {
            return Err("must contain {name} or {call_id}, or recordings share a key".into());
        }
        this.check_segments()?;
        this.check_tenant_stands_alone()?;
        Ok(this)
    }

    fn check_segments(&self) -> Result<(), String> {
        let shape: String = self
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.as_str(),
                Piece::Field(_) => "x",
            })
            .collect();
        match shape.split('/').find(|segment| matches!(*segment, "" | "." | "..")) {
            None => Ok(()),
            Some("") => Err("must neither begin nor end with a slash nor have two in a row".into()),
            Some(_) => Err("must have no part that is `.` or `..`".into()),
        }
    }

    /// Two tenants' keys never meet: in each of them it can be seen where the id begins and ends.
    ///
    /// Neither an id nor what stands for a field has a slash or `=` in it. An id has no dot
    /// either, but names have: a dot sets it apart where names are on one side of it alone.
    fn check_tenant_stands_alone(&self) -> Result<(), String> {
        let apart = |c: Option<char>| c.is_none_or(|c| matches!(c, '/' | '.' | '='));
        for (index, piece) in self.0.iter().enumerate() {
            if *piece != Piece::Field(Field::Tenant) {
                continue;
            }
            let (before, after) = (&self.0[..index], &self.0[index + 1..]);
            let stands_alone = match (before.last(), after.first()) {
                (Some(Piece::Field(_)), _) | (_, Some(Piece::Field(_))) => false,
                (before, after) => {
                    let text = |piece: Option<&Piece>| match piece {
                        Some(Piece::Literal(text)) => text.clone(),
                        _ => String::new(),
                    };
                    apart(text(before).chars().next_back()) && apart(text(after).chars().next())
                }
            };
            if !stands_alone {
                return Err("{tenant} must stand between slashes (or `.` or `=`), or the keys of \
                            two tenants could meet"
                    .into());
            }
            if has_name_beside(before.iter().rev()) && has_name_beside(after.iter()) {
                return Err("{tenant} must not have names on both sides of it, in which dots may \
                            stand too, or the keys of two tenants could meet; put a slash on one \
                            side of it, as in {tenant}/{cc_id}.{name}"
                    .into());
            }
        }
        Ok(())
    }
}

/// Whether, from the tenant outwards, something of any text comes before what sets it apart for
/// good. Digits of a date are always as many.
fn has_name_beside<'a>(pieces: impl Iterator<Item = &'a Piece>) -> bool {
    for piece in pieces {
        match piece {
            Piece::Literal(text) if text.contains(['/', '=']) => return false,
            Piece::Field(Field::CallId | Field::Name | Field::CcId | Field::Extension) => {
                return true;
            }
            Piece::Literal(_) | Piece::Field(_) => {}
        }
    }
    false
}

fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let (literal, tail) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
        if !literal.is_empty() {
            pieces.push(Piece::Literal(checked_literal(literal)?));
        }
        rest = tail;
        if let Some(open) = rest.strip_prefix('{') {
            let (name, tail) = open.split_once('}').ok_or("has a `{` without its `}`")?;
            pieces.push(Piece::Field(field_named(name)?));
            rest = tail;
        } else if !rest.is_empty() {
            return Err("has a `}` without its `{`".into());
        }
    }
    Ok(pieces)
}

fn checked_literal(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '=' | '/');
    match text.chars().find(|c| !plain(*c)) {
        None => Ok(text.to_owned()),
        Some(c) => {
            Err(format!("has {c:?}; besides placeholders only A–Z a–z 0–9 . _ - = / may stand"))
        }
    }
}

fn field_named(name: &str) -> Result<Field, String> {
    if let Some((_, field)) = Field::ALL.iter().find(|(known, _)| *known == name) {
        return Ok(*field);
    }
    let known = Field::ALL.map(|(known, _)| format!("{{{known}}}")).join(" ");
    Err(format!("has the unknown placeholder {{{name}}} (known: {known})"))
}
