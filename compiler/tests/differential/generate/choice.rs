//! Which variable, map or constant is used.

use super::{EDGES, Generator, INTS, Map, MapValue, Var};
use crate::tree::{Node, Piece, SHAPES, Ty};

impl Generator {
    /// An expression that reads a variable or map of a type, if there is one.
    pub fn read(&mut self, ty: &Ty) -> Option<Node> {
        let mut found: Vec<Node> = Vec::new();
        for var in self.vars.clone() {
            paths(&var.name, &var.ty, ty, &mut found);
        }
        for map in self.maps.clone() {
            let reads = match &map.value {
                MapValue::Plain(own) => own.clone(),
                MapValue::Agg { readable: true, .. } => Ty::Int,
                MapValue::Agg { .. } => continue,
            };
            let mut here = Vec::new();
            paths("", &reads, ty, &mut here);
            if let Some(path) = here.pop() {
                let label =
                    if matches!(map.value, MapValue::Agg { .. }) { "read aggregation" } else { "read map" };
                let (place, nodes) = self.shallow_element(&map);
                let suffix = print_pieces(&path);
                // An index behind the name of a map is a key.
                let pattern = if suffix.starts_with('[') {
                    format!("({place}){suffix}")
                } else {
                    format!("{place}{suffix}")
                };
                found.push(Node::new(label, ty.clone(), &pattern, nodes));
            }
        }
        if found.is_empty() { None } else { Some(self.random.of(&found).clone()) }
    }

    /// An element by a key without further reads.
    pub fn shallow_element(&mut self, map: &Map) -> (String, Vec<Node>) {
        let (vars, maps) = (std::mem::take(&mut self.vars), std::mem::take(&mut self.maps));
        let element = self.element(map);
        (self.vars, self.maps) = (vars, maps);
        element
    }

    pub fn literal(&mut self) -> Node {
        let mut value = *self.random.of(EDGES);
        if self.random.once_in(3) {
            value = i128::from(self.random.bits() >> self.random.below(64));
        }
        let text = match self.random.below(4) {
            0 if value <= 1 << 63 && value > 0 => format!("(-{value})"),
            1 => {
                let to = *self.random.of(INTS);
                format!("({to}){value}")
            }
            _ if value >= 1 << 63 => format!("(uint64){value}"),
            _ => value.to_string(),
        };
        Node::new("literal", Ty::Int, &text, Vec::new())
    }

    /// An integer that wraps: a constant of literals only must not leave 64 bits.
    pub fn typed(&mut self, depth: usize) -> Node {
        let value = self.int(depth);
        let mut constant = true;
        value.for_each(&mut |node| {
            let leaf = !node.pieces.iter().any(|p| matches!(p, Piece::Node(_)));
            constant &= !leaf || node.label == "literal";
        });
        if !constant {
            return value;
        }
        let to = *self.random.of(INTS);
        Node::new("cast", Ty::Int, &format!("({to})(`)"), vec![value])
    }

    /// Zero now and then, but not a constant zero, which is an error.
    pub fn divisor(&mut self) -> Node {
        match self.read(&Ty::Int) {
            Some(read) if !self.random.once_in(4) => {
                if self.random.once_in(2) {
                    return read;
                }
                let mask = *self.random.of(&[1, 3, 255]);
                Node::new("&", Ty::Int, &format!("((`) & {mask})"), vec![read])
            }
            _ => Node::new(
                "literal",
                Ty::Int,
                self.random.text(&["1", "2", "3", "7", "8", "10", "64", "(-1)", "(-3)", "1000"]),
                Vec::new(),
            ),
        }
    }

    /// Zero now and then, but not a constant zero, which is an error.
    pub fn length(&mut self) -> Node {
        match self.read(&Ty::Int) {
            Some(read) => Node::new("&", Ty::Int, "((uint64)(`) & 31)", vec![read]),
            None => Node::new("literal", Ty::Int, &(1 + self.random.below(31)).to_string(), Vec::new()),
        }
    }

    pub fn shift_count(&mut self) -> Node {
        match self.read(&Ty::Int) {
            Some(read) if self.random.once_in(2) => read,
            _ => Node::new("literal", Ty::Int, &self.random.below(64).to_string(), Vec::new()),
        }
    }

    pub fn assignable(&mut self, ty: Option<Ty>) -> Option<Var> {
        let fits = |v: &&Var| !v.constant && ty.as_ref().is_none_or(|ty| *ty == v.ty);
        let vars: Vec<Var> = self.vars.iter().filter(fits).cloned().collect();
        if vars.is_empty() { None } else { Some(self.random.of(&vars).clone()) }
    }

    pub fn map_where(&mut self, fits: impl Fn(&Map) -> bool) -> Option<Map> {
        let maps: Vec<Map> = self.maps.iter().filter(|m| fits(m)).cloned().collect();
        if maps.is_empty() { None } else { Some(self.random.of(&maps).clone()) }
    }

    pub fn int_map(&mut self) -> Option<Map> {
        self.map_where(|m| m.value == MapValue::Plain(Ty::Int))
    }

    pub fn keyed_plain_map(&mut self) -> Option<Map> {
        self.map_where(|m| !m.key.is_empty() && matches!(m.value, MapValue::Plain(_)))
    }

    pub fn keyed_map(&mut self) -> Option<Map> {
        self.map_where(|m| !m.key.is_empty())
    }
}

/// Parts of a value that are of a type: `$v`, `$v.1`, `$v.1.0`.
fn paths(prefix: &str, ty: &Ty, wanted: &Ty, found: &mut Vec<Node>) {
    if ty == wanted {
        let label = if prefix.contains('.') { "field" } else { "$v" };
        found.push(Node::new(label, wanted.clone(), prefix, Vec::new()));
    }
    let mut leaf = |label, path: String| {
        if *wanted == Ty::Int {
            found.push(Node::new(label, Ty::Int, &path, Vec::new()));
        }
    };
    match ty {
        Ty::Tuple(types) => {
            for (n, part) in types.iter().enumerate() {
                paths(&format!("{prefix}.{n}"), part, wanted, found);
            }
        }
        Ty::Record(types) => {
            for (n, part) in types.iter().enumerate() {
                paths(&format!("{prefix}.f{n}"), part, wanted, found);
            }
        }
        Ty::Array(_, len) => (0..*len).step_by(3).for_each(|n| leaf("element", format!("{prefix}[{n}]"))),
        Ty::Struct(name) => fields(name).for_each(|field| leaf("struct field", format!("{prefix}.{field}"))),
        Ty::Ptr(to) if to.starts_with("struct") => {
            fields(to).for_each(|field| leaf("field by pointer", format!("{prefix}->{field}")));
        }
        Ty::Ptr(_) => (0..3).for_each(|n| leaf("by pointer", format!("{prefix}[{n}]"))),
        Ty::Stmt | Ty::Int | Ty::Bool | Ty::Str | Ty::Buf => {}
    }
}

fn fields(shape: &str) -> impl Iterator<Item = &'static str> {
    let found = SHAPES.iter().filter(move |(name, ..)| *name == shape);
    found.flat_map(|(_, _, fields)| fields.iter().copied()).collect::<Vec<_>>().into_iter()
}

/// The text of a node without holes.
fn print_pieces(node: &Node) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        _ => String::new(),
    };
    node.pieces.iter().map(text).collect()
}
