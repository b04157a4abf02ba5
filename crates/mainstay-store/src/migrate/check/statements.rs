//! The statements of a migration, each by itself: one that the parser does not understand hides no other.

use sqlparser::{
    ast::Statement,
    dialect::{Dialect, PostgreSqlDialect, SQLiteDialect},
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace},
};

use super::SqlDialect;

/// A statement as it was found.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where it begins, from 1.
    pub(super) line: u64,
    /// The comments above it, without their marks.
    pub(super) comments: Vec<String>,
    /// Its tokens; or why there are none.
    pub(super) tokens: Result<Vec<TokenWithSpan>, String>,
}

fn dialect_of(dialect: SqlDialect) -> &'static dyn Dialect {
    match dialect {
        SqlDialect::Postgres => &PostgreSqlDialect {},
        SqlDialect::Sqlite => &SQLiteDialect {},
    }
}

/// The statements of a text, in order.
pub(super) fn split(sql: &str, dialect: SqlDialect) -> Vec<Piece> {
    let mut tokens = Vec::new();
    let ended =
        Tokenizer::new(dialect_of(dialect), sql).tokenize_with_location_into_buf(&mut tokens);
    let mut splitter = Splitter::default();
    for token in tokens {
        splitter.take(token);
    }
    match ended {
        Ok(()) => splitter.end(),
        // Where it began is known, and not where it ends.
        Err(error) => {
            let unread = Piece {
                line: error.location.line,
                comments: Vec::new(),
                tokens: Err(format!("cannot be read: {}", error.message)),
            };
            splitter.done.push(unread);
            splitter.done
        }
    }
}

/// Cuts tokens into statements.
#[derive(Default)]
struct Splitter {
    done: Vec<Piece>,
    line: u64,
    comments: Vec<String>,
    tokens: Vec<TokenWithSpan>,
    /// Of `BEGIN … END` in a trigger or a function, and of `CASE … END`: a semicolon in there ends nothing.
    depth: usize,
    creates: bool,
}

impl Splitter {
    fn take(&mut self, token: TokenWithSpan) {
        match &token.token {
            Token::SemiColon if self.depth == 0 => return self.cut(),
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. })
            | Token::Whitespace(Whitespace::MultiLineComment(comment))
                if self.tokens.is_empty() =>
            {
                return self.comments.push(comment.clone());
            }
            Token::Whitespace(_) => return,
            Token::Word(word) => self.word(word.keyword),
            _ => {}
        }
        if self.tokens.is_empty() {
            self.line = token.span.start.line;
        }
        self.tokens.push(token);
    }

    fn word(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::CREATE if self.tokens.is_empty() => self.creates = true,
            // Elsewhere it begins a transaction.
            Keyword::BEGIN if self.creates => self.depth += 1,
            Keyword::CASE => self.depth += 1,
            Keyword::END => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn cut(&mut self) {
        if !self.tokens.is_empty() || !self.comments.is_empty() {
            self.done.push(Piece {
                line: self.line.max(1),
                comments: std::mem::take(&mut self.comments),
                tokens: Ok(std::mem::take(&mut self.tokens)),
            });
        }
        (self.depth, self.creates) = (0, false);
    }

    fn end(mut self) -> Vec<Piece> {
        self.cut();
        self.done
    }
}

/// Without `STRICT, WITHOUT ROWID` at the end, which the parser reads in one order only and which say nothing here.
fn without_table_options(mut tokens: &[TokenWithSpan], dialect: SqlDialect) -> &[TokenWithSpan] {
    let is = |token: &TokenWithSpan, option: &str| match &token.token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(option),
        _ => false,
    };
    let creates = tokens.first().is_some_and(|first| is(first, "CREATE"));
    if !creates || dialect != SqlDialect::Sqlite {
        return tokens;
    }
    loop {
        tokens = match tokens {
            [rest @ .., last] if is(last, "STRICT") || last.token == Token::Comma => rest,
            [rest @ .., without, rowid] if is(without, "WITHOUT") && is(rowid, "ROWID") => rest,
            _ => return tokens,
        };
    }
}

/// Reads a statement; or says why it cannot be read.
pub(super) fn parse(tokens: &[TokenWithSpan], dialect: SqlDialect) -> Result<Statement, String> {
    let tokens = without_table_options(tokens, dialect);
    let mut parser = Parser::new(dialect_of(dialect)).with_tokens_with_locations(tokens.to_vec());
    let statement = parser
        .parse_statement()
        .map_err(|error| format!("cannot be read: {error}"))?;
    match parser.peek_token().token {
        Token::EOF => Ok(statement),
        rest => Err(format!("cannot be read from {rest} on")),
    }
}
