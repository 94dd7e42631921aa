//! Maps, their keys, and assigning them.

use super::{Generator, INTS, Map, MapValue};
use crate::tree::{Node, Ty, array_bits, tuple_pattern};

impl Generator {
    pub fn key_type(&mut self) -> Ty {
        match self.random.below(5) {
            0..=2 => Ty::Int,
            3 => match self.random.below(4) {
                0 => Ty::Record(vec![Ty::Int, Ty::Int]),
                1 => Ty::Array("uint8", 8),
                2 => Ty::Tuple(vec![Ty::Tuple(vec![Ty::Int, Ty::Bool]), Ty::Str]),
                _ => Ty::Str,
            },
            _ => Ty::Tuple(vec![Ty::Int, if self.random.once_in(2) { Ty::Int } else { Ty::Str }]),
        }
    }

    pub fn aggregation(&mut self) -> MapValue {
        let (pattern, readable) = match self.random.below(11) {
            10 => {
                self.has_series = true;
                let (n, how) = (
                    1 + self.random.below(5),
                    self.random.text(&["", ", \"avg\"", ", \"max\"", ", \"min\"", ", \"sum\""]),
                );
                (format!("tseries(`, 1s, {n}{how})"), false)
            }
            0 | 1 => ("count()".to_owned(), true),
            2 | 3 => ("sum(`)".to_owned(), true),
            4 => ("min(`)".to_owned(), true),
            5 => ("max(`)".to_owned(), true),
            6 => ("avg(`)".to_owned(), true),
            7 => ("stats(`)".to_owned(), false),
            8 => (format!("hist(`, {})", self.random.below(6)), false),
            _ => {
                let (min, step, n) = (
                    self.random.below(300) as i64 - 200,
                    1 + self.random.below(20) as i64,
                    1 + self.random.below(20) as i64,
                );
                (format!("lhist(`, {min}, {}, {step})", min + n * step), false)
            }
        };
        MapValue::Agg { pattern, readable }
    }

    /// Adds a map, and a statement that assigns it.
    pub fn new_map(&mut self, body: &mut Vec<Node>) -> Map {
        let key: Vec<Ty> = match self.random.below(4) {
            0 => Vec::new(),
            1 | 2 => vec![self.key_type()],
            _ => vec![Ty::Int, self.key_type()],
        };
        let value = match self.random.below(3) {
            0 => self.aggregation(),
            _ => MapValue::Plain(self.some_type(1)),
        };
        let small = self.random.once_in(4).then(|| *self.random.of(&[2, 5, 50]));
        self.new_map_of(key, value, small, body)
    }

    /// The same, with room for so many keys if it is declared.
    pub fn new_map_of(
        &mut self,
        key: Vec<Ty>,
        value: MapValue,
        entries: Option<u32>,
        body: &mut Vec<Node>,
    ) -> Map {
        let name = format!("@#_{}", self.fresh());
        let map = Map { name, key, value };
        if let Some(entries) = entries.filter(|_| !map.key.is_empty()) {
            let kind = *self.random.of(&["hash", "hash", "percpuhash"]);
            // An aggregation in a declared map must be kept per CPU.
            let kind = if matches!(map.value, MapValue::Agg { .. }) { "percpuhash" } else { kind };
            self.declarations.push(format!("let {} = {kind}({entries});", map.name));
        }
        body.push(self.assign_map(&map));
        self.maps.push(map.clone());
        map
    }

    /// `@map` or `@map[key]`, as a pattern and its nodes.
    pub fn element(&mut self, map: &Map) -> (String, Vec<Node>) {
        if map.key.is_empty() {
            return (map.name.clone(), Vec::new());
        }
        let keys: Vec<Node> = map.key.clone().iter().map(|ty| self.key(ty)).collect();
        (format!("{}[{}]", map.name, vec!["`"; keys.len()].join(", ")), keys)
    }

    /// A key from a small set.
    pub fn key(&mut self, ty: &Ty) -> Node {
        match ty {
            Ty::Int => match self.random.below(3) {
                0 => {
                    let value = self.int(1);
                    let mask = *self.random.of(&[1, 3, 5]);
                    Node::new("&", Ty::Int, &format!("((`) & {mask})"), vec![value])
                }
                1 => {
                    let value = self.int(1);
                    let to = *self.random.of(INTS);
                    Node::new("cast", Ty::Int, &format!("({to})((`) & 3)"), vec![value])
                }
                _ => Node::new("literal", Ty::Int, &self.random.below(4).to_string(), Vec::new()),
            },
            Ty::Tuple(types) | Ty::Record(types) => {
                let parts: Vec<Node> = types.iter().map(|ty| self.key(ty)).collect();
                Node::new("tuple", ty.clone(), &tuple_pattern(ty), parts)
            }
            Ty::Array(elem, len) => {
                let value = self.key(&Ty::Int);
                let pattern = format!("(({elem}[{len}])(uint{})(`))", array_bits(elem, *len));
                Node::new("array", ty.clone(), &pattern, vec![value])
            }
            _ => self.value(ty, 1),
        }
    }

    pub fn assign_map(&mut self, map: &Map) -> Node {
        let (place, mut nodes) = self.element(map);
        match &map.value {
            MapValue::Agg { pattern, .. } => {
                if pattern.contains('`') {
                    nodes.push(self.int(2));
                }
                let label = aggregation_label(pattern);
                Node::new(label, Ty::Stmt, &format!("{place} = {pattern};"), nodes)
            }
            MapValue::Plain(ty) => {
                let ty = ty.clone();
                nodes.push(self.value(&ty, 3));
                Node::new("map =", Ty::Stmt, &format!("{place} = `;"), nodes)
            }
        }
    }

    /// A map's key as one value.
    pub fn whole_key(&mut self, map: &Map) -> Node {
        match map.key.as_slice() {
            [ty] => self.key(&ty.clone()),
            types => self.key(&Ty::Tuple(types.to_vec())),
        }
    }
}

fn aggregation_label(pattern: &str) -> &'static str {
    let name = pattern.split('(').next().unwrap_or_default();
    ["count", "sum", "min", "max", "avg", "stats", "hist", "lhist", "tseries"]
        .into_iter()
        .find(|n| *n == name)
        .unwrap_or("aggregation")
}
