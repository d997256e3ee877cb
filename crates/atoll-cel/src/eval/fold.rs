//! Loops: the comprehension macros.

use std::collections::BTreeMap;

use super::machine::{Evaluated, Stop};
use super::val::{List, MapKey, Mapping, Val};
use super::{Evaluator, Local};
use crate::check::node::{FoldNode, Node, NodeKind};
use crate::syntax::ast::FoldKind;

/// What a loop has gathered.
enum Gathered<'a> {
    /// `all` and `exists`: the first failure, unless a later turn decides.
    Decision(Option<Stop>),
    Count(u64),
    List(Vec<Val<'a>>),
    Map(BTreeMap<MapKey<'a>, Val<'a>>),
}

impl<'a> Evaluator<'a> {
    pub(super) fn fold(&mut self, fold: &'a FoldNode) -> Evaluated<Val<'a>> {
        let range = self.eval(&fold.range)?;
        self.machine.charge(match fold.what {
            FoldKind::ExistsOne => 2,
            _ => 1,
        })?;
        let mut gathered = match fold.what {
            FoldKind::All | FoldKind::Exists => Gathered::Decision(None),
            FoldKind::ExistsOne => Gathered::Count(0),
            FoldKind::List => Gathered::List(Vec::new()),
            FoldKind::Map | FoldKind::Entries => Gathered::Map(BTreeMap::new()),
        };
        match range {
            Val::List(list) => self.fold_list(fold, &list, &mut gathered)?,
            Val::Map(map) => self.fold_map(fold, &map, &mut gathered)?,
            other => {
                let message = format!("got '{}', expected iterable type", other.upstream_name());
                return Err(Stop::fault(message));
            }
        }
        .map_or_else(|| finish(fold.what, gathered), Ok)
    }

    /// Turns over a list; the answer, when a turn decides it.
    fn fold_list(
        &mut self,
        fold: &'a FoldNode,
        list: &List<'a>,
        gathered: &mut Gathered<'a>,
    ) -> Evaluated<Option<Val<'a>>> {
        for (index, item) in list.iter().enumerate() {
            let item = item?;
            self.machine.long(&item)?;
            if fold.two {
                self.locals.push(Local::Ready(Val::Int(index as i64)));
            }
            self.locals.push(Local::Ready(item));
            let decided = self.turn(fold, gathered, if fold.two { 2 } else { 1 });
            if let Some(decided) = decided? {
                return Ok(Some(decided));
            }
        }
        Ok(None)
    }

    fn fold_map(
        &mut self,
        fold: &'a FoldNode,
        map: &Mapping<'a>,
        gathered: &mut Gathered<'a>,
    ) -> Evaluated<Option<Val<'a>>> {
        self.machine.walk(map.len())?;
        self.machine.allocate_values(map.len())?;
        for key in map.keys() {
            self.locals.push(Local::Ready(key.to_val()));
            if fold.two {
                match map.get(&key) {
                    Some(value) => {
                        let value = value.inspect_err(|_| {
                            self.locals.pop();
                        })?;
                        self.locals.push(Local::Ready(value));
                    }
                    // A declared property that is null.
                    None => self.locals.push(Local::Ready(Val::Null)),
                }
            }
            let decided = self.turn(fold, gathered, if fold.two { 2 } else { 1 });
            if let Some(decided) = decided? {
                return Ok(Some(decided));
            }
        }
        Ok(None)
    }

    /// One turn with its names in scope; takes them out of scope again.
    fn turn(
        &mut self,
        fold: &'a FoldNode,
        gathered: &mut Gathered<'a>,
        names: usize,
    ) -> Evaluated<Option<Val<'a>>> {
        let depth = self.locals.len() - names;
        let result = self.turn_inside(fold, gathered, depth);
        self.locals.truncate(depth);
        result
    }

    fn turn_inside(
        &mut self,
        fold: &'a FoldNode,
        gathered: &mut Gathered<'a>,
        names: usize,
    ) -> Evaluated<Option<Val<'a>>> {
        match gathered {
            Gathered::Decision(failure) => {
                let stops_at = fold.what == FoldKind::Exists;
                self.machine.charge(if stops_at { 4 } else { 3 })?;
                match self.predicate(fold) {
                    Ok(holds) if holds == stops_at => {
                        // Upstream looks once more whether to go on.
                        self.machine.charge(if stops_at { 3 } else { 2 })?;
                        return Ok(Some(Val::Bool(holds)));
                    }
                    Ok(_) => {}
                    Err(Stop::Budget) => return Err(Stop::Budget),
                    Err(stop) => drop(failure.get_or_insert(stop)),
                }
            }
            Gathered::Count(count) => {
                self.machine.charge(1)?;
                if self.predicate(fold)? {
                    self.machine.charge(1)?;
                    *count += 1;
                }
            }
            Gathered::List(items) => {
                self.machine.charge(1)?;
                if self.predicate(fold)? {
                    // A list of one item, which is free when the item is a literal.
                    let literal = matches!(&fold.transform, Some(transform) if matches!(transform.kind, NodeKind::Constant(_)));
                    self.machine.charge(if literal { 1 } else { 11 })?;
                    self.machine.allocate_values(1)?;
                    items.push(match &fold.transform {
                        Some(transform) => self.eval(transform)?,
                        None => self.local(names)?,
                    });
                }
            }
            Gathered::Map(entries) => {
                self.machine.charge(1)?;
                if self.predicate(fold)? {
                    self.machine.charge(2)?;
                    let Some(transform) = &fold.transform else {
                        return Err(Stop::no_overload());
                    };
                    self.gather_entry(fold, entries, names, transform)?;
                }
            }
        }
        Ok(None)
    }

    fn gather_entry(
        &mut self,
        fold: &'a FoldNode,
        entries: &mut BTreeMap<MapKey<'a>, Val<'a>>,
        names: usize,
        transform: &'a Node,
    ) -> Evaluated<()> {
        let value = self.eval(transform)?;
        if fold.what == FoldKind::Map {
            let key = self.local(names)?.key().ok_or_else(Stop::no_overload)?;
            self.machine.allocate_values(2)?;
            return insert(entries, key, value);
        }
        let Val::Map(added) = value else {
            return Err(Stop::no_overload());
        };
        self.machine
            .allocate_values(added.len().saturating_mul(2))?;
        self.machine.walk(added.len())?;
        for key in added.keys() {
            if let Some(value) = added.get(&key) {
                insert(entries, key, value?)?;
            }
        }
        Ok(())
    }

    fn predicate(&mut self, fold: &'a FoldNode) -> Evaluated<bool> {
        match fold
            .predicate
            .as_ref()
            .map(|predicate| self.eval(predicate))
            .transpose()?
        {
            None | Some(Val::Bool(true)) => Ok(true),
            Some(Val::Bool(false)) => Ok(false),
            Some(_) => Err(Stop::no_overload()),
        }
    }
}

fn insert<'a>(
    entries: &mut BTreeMap<MapKey<'a>, Val<'a>>,
    key: MapKey<'a>,
    value: Val<'a>,
) -> Evaluated<()> {
    if entries.contains_key(&key) {
        return Err(Stop::fault(format!(
            "insert failed: key {key} already exists"
        )));
    }
    entries.insert(key, value);
    Ok(())
}

fn finish<'a>(what: FoldKind, gathered: Gathered<'a>) -> Evaluated<Val<'a>> {
    match gathered {
        Gathered::Decision(Some(failure)) => Err(failure),
        Gathered::Decision(None) => Ok(Val::Bool(what == FoldKind::All)),
        Gathered::Count(count) => Ok(Val::Bool(count == 1)),
        Gathered::List(items) => Ok(Val::list(items)),
        Gathered::Map(entries) => Ok(Val::map(entries)),
    }
}
