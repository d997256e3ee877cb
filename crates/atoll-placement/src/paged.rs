//! A table by dense index that grows page by page: no copy of everything when it grows, no memory for ranges that nobody uses.

/// Slots in one page.
const PAGE: usize = 1024;

/// Index -> value.
#[derive(Debug)]
pub struct Paged<T> {
    pages: Vec<Option<Box<[Option<T>]>>>,
    len: usize,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Paged {
            pages: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Paged<T> {
    fn slot(&self, index: u32) -> Option<&Option<T>> {
        let index = index as usize;
        self.pages.get(index / PAGE)?.as_ref()?.get(index % PAGE)
    }

    /// The value at an index.
    pub fn get(&self, index: u32) -> Option<&T> {
        self.slot(index)?.as_ref()
    }

    /// The value at an index, to be changed.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let index = index as usize;
        let page = self.pages.get_mut(index / PAGE)?.as_mut()?;
        page.get_mut(index % PAGE)?.as_mut()
    }

    /// Puts a value at an index; what was there is given back.
    pub fn insert(&mut self, index: u32, value: T) -> Option<T> {
        let index = index as usize;
        if self.pages.len() <= index / PAGE {
            self.pages.resize_with(index / PAGE + 1, || None);
        }
        let page = self.pages[index / PAGE]
            .get_or_insert_with(|| std::iter::repeat_with(|| None).take(PAGE).collect());
        let old = page[index % PAGE].replace(value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes a value out.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let index = index as usize;
        let page = self.pages.get_mut(index / PAGE)?.as_mut()?;
        let old = page.get_mut(index % PAGE)?.take();
        self.len -= usize::from(old.is_some());
        old
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All, by ascending index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.pages.iter().enumerate().flat_map(|(number, page)| {
            let slots = page.iter().flat_map(|p| p.iter().enumerate());
            slots.filter_map(move |(at, slot)| Some(((number * PAGE + at) as u32, slot.as_ref()?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_table_equals_a_map(history in proptest::collection::vec((0u32..5000, proptest::option::of(0u8..9)), 0..200)) {
            let (mut table, mut model) = (Paged::default(), BTreeMap::new());
            for (index, value) in history {
                match value {
                    Some(value) => prop_assert_eq!(table.insert(index, value), model.insert(index, value)),
                    None => prop_assert_eq!(table.remove(index), model.remove(&index)),
                }
                prop_assert_eq!(table.get(index), model.get(&index));
            }
            prop_assert_eq!(table.len(), model.len());
            let all: Vec<(u32, u8)> = table.iter().map(|(i, v)| (i, *v)).collect();
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
