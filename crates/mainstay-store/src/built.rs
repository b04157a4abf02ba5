//! Statements put together from fixed parts: the filters of lists. Values only ever become parameters.

use crate::sql::Value;

/// A statement and its parameters.
pub(crate) struct Built {
    pub(crate) text: String,
    pub(crate) params: Vec<Value>,
}

impl Built {
    /// Begins with a text whose `$1`, `$2`, … are these.
    pub(crate) fn new(text: &'static str, params: Vec<Value>) -> Self {
        Self {
            text: text.to_owned(),
            params,
        }
    }

    /// Goes on with a text without parameters.
    pub(crate) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Goes on with a text, a parameter and another text.
    pub(crate) fn bind(
        &mut self,
        before: &'static str,
        value: impl Into<Value>,
        after: &'static str,
    ) -> &mut Self {
        self.push(before).place(value).push(after)
    }

    /// Goes on with a text whose only `?` is this value, if there is one.
    pub(crate) fn bind_some(
        &mut self,
        before: &'static str,
        value: Option<impl Into<Value>>,
        after: &'static str,
    ) -> &mut Self {
        match value {
            Some(value) => self.bind(before, value, after),
            None => self,
        }
    }

    /// Goes on with a text and a list of parameters in parentheses.
    pub(crate) fn bind_list(
        &mut self,
        before: &'static str,
        values: impl IntoIterator<Item = impl Into<Value>>,
    ) -> &mut Self {
        self.push(before).push(" (");
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.place(value);
        }
        self.push(")")
    }

    /// Goes on with rows of parameters, each in parentheses. All of them have the same columns.
    pub(crate) fn bind_rows<const COLUMNS: usize>(
        &mut self,
        rows: impl IntoIterator<Item = [Value; COLUMNS]>,
    ) -> &mut Self {
        for (index, row) in rows.into_iter().enumerate() {
            self.bind_list(if index > 0 { "," } else { "" }, row);
        }
        self
    }

    fn place(&mut self, value: impl Into<Value>) -> &mut Self {
        self.params.push(value.into());
        self.text.push('$');
        self.text.push_str(&self.params.len().to_string());
        self
    }
}

/// The newest rows of several tenants, each tenant's in the order of ids, newest first: no tenant is asked whose
/// newest row is older than what is there already.
pub(crate) struct Newest<T> {
    limit: usize,
    rows: Vec<(uuid::Uuid, T)>,
}

impl<T> Newest<T> {
    pub(crate) fn new(limit: i64) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(0),
            rows: Vec::new(),
        }
    }

    /// Whether a tenant whose newest row is this one can add to the page.
    pub(crate) fn wants(&self, newest: uuid::Uuid) -> bool {
        self.limit > 0
            && (self.rows.len() < self.limit
                || self.rows.last().is_some_and(|(last, _)| *last < newest))
    }

    pub(crate) fn add(&mut self, rows: impl IntoIterator<Item = (uuid::Uuid, T)>) {
        self.rows.extend(rows);
        self.rows.sort_by(|(a, _), (b, _)| b.cmp(a));
        self.rows.truncate(self.limit);
    }

    pub(crate) fn finish(self) -> Vec<T> {
        self.rows.into_iter().map(|(_, row)| row).collect()
    }
}
