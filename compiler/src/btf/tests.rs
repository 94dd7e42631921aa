//! Tests over BTF that is made by code, whole and damaged.

use super::fixture::Builder;
use super::{Btf, BtfError, Field};
use crate::types::{AddrSpace, StructRef, Type};

const KERNEL: AddrSpace = AddrSpace::Kernel;

fn kernel_ptr(to: Type) -> Type {
    Type::Ptr { to: Box::new(to), space: KERNEL }
}

#[test]
fn integers_keep_width_and_sign() {
    let mut b = Builder::new();
    let cases = [
        (b.int("int", 4, true), Type::I32),
        (b.int("unsigned char", 1, false), Type::Int { bits: 8, signed: false }),
        (b.int("long unsigned int", 8, false), Type::U64),
        (b.int("__int128", 16, true), Type::Array { elem: Box::new(Type::U64), len: 2 }),
        (b.bool(), Type::Bool),
    ];
    let btf = b.btf();
    for (id, expected) in cases {
        assert_eq!(btf.lang_type(id, KERNEL), expected);
    }
}

#[test]
fn typedefs_qualifiers_and_tags_are_seen_through() {
    let mut b = Builder::new();
    let int = b.int("unsigned int", 4, false);
    let typedef = b.typedef("gfp_t", int);
    let constant = b.constant(typedef);
    let tagged = b.type_tag("rcu", constant);
    let btf = b.btf();
    assert_eq!(btf.lang_type(tagged, KERNEL), Type::U32);
    assert_eq!(btf.typedef_named("gfp_t"), Some(typedef));
    assert_eq!(btf.sizeof(tagged), Some(4));
    assert_eq!(btf.c_name(constant), "const gfp_t");
}

#[test]
fn char_arrays_are_strings_and_byte_arrays_are_not() {
    let mut b = Builder::new();
    let (char, u8) = (b.int("char", 1, false), b.int("unsigned char", 1, false));
    let (text, bytes, open) = (b.array(char, 16), b.array(u8, 16), b.array(char, 0));
    let grid = b.array(bytes, 3);
    let btf = b.btf();
    let byte = || Box::new(Type::Int { bits: 8, signed: false });
    assert_eq!(btf.lang_type(text, KERNEL), Type::Str { cap: 16 });
    assert_eq!(btf.lang_type(bytes, KERNEL), Type::Array { elem: byte(), len: 16 });
    assert_eq!(btf.lang_type(open, KERNEL), Type::Array { elem: byte(), len: 0 });
    let row = Type::Array { elem: byte(), len: 16 };
    assert_eq!(btf.lang_type(grid, KERNEL), Type::Array { elem: Box::new(row), len: 3 });
    assert_eq!(btf.c_declaration(grid, "g"), "unsigned char g[3][16]");
}

#[test]
fn pointers_say_which_memory_they_point_into() {
    let mut b = Builder::new();
    let char = b.int("char", 1, false);
    let (plain, user) = (b.ptr(char), b.type_tag("user", char));
    let user = b.ptr(user);
    let (void, proto) = (b.ptr(0), b.proto(0, &[("work", plain)]));
    let function = b.ptr(proto);
    let btf = b.btf();
    let char = Type::Int { bits: 8, signed: false };
    assert_eq!(btf.lang_type(plain, KERNEL), kernel_ptr(char.clone()));
    assert_eq!(btf.lang_type(user, KERNEL), Type::Ptr { to: Box::new(char), space: AddrSpace::User });
    assert_eq!(btf.lang_type(void, KERNEL), kernel_ptr(Type::Void));
    assert_eq!(btf.lang_type(function, KERNEL), kernel_ptr(Type::Void));
    assert_eq!(btf.c_name(function), "void (*)(char *work)");
}

#[test]
fn members_of_anonymous_members_are_the_structs_own() {
    let mut b = Builder::new();
    let int = b.int("int", 4, true);
    let inner = b.union("", 4, &[("a", int, 0, 0), ("b", int, 0, 0)]);
    let middle = b.structure("", 8, &[("x", int, 0, 0), ("", inner, 32, 0)]);
    let outer =
        b.structure("outer", 16, &[("first", int, 0, 0), ("", middle, 32, 0), ("named", inner, 96, 0)]);
    let btf = b.btf();
    let field = |name: &str, type_id, bit_offset| Field {
        name: name.into(),
        type_id,
        bit_offset,
        bitfield_bits: None,
    };
    let expected = [
        field("first", int, 0),
        field("x", int, 32),
        field("a", int, 64),
        field("b", int, 64),
        field("named", inner, 96),
    ];
    assert_eq!(btf.fields(outer), expected);
    assert_eq!(btf.field(outer, "b"), Some(field("b", int, 64)));
    assert_eq!(btf.field(outer, "c"), None);
    assert_eq!(btf.similar_fields(outer, "frist"), ["first"]);
    let named = StructRef { name: "outer".into(), id: outer, size: 16, is_union: false };
    assert_eq!(btf.struct_ref(outer), Some(named));
}

#[test]
fn bit_fields_keep_their_place_and_size_in_both_encodings() {
    let mut b = Builder::new();
    let int = b.int("unsigned int", 4, false);
    let new =
        b.structure("new", 4, &[("a", int, 0, 3), ("", int, 3, 2), ("b", int, 5, 1), ("c", int, 32, 0)]);
    // Before members carried sizes, an integer type of 3 bits stood for a bit-field.
    let narrow = b.record(1, false, "unsigned int", 0, 4, &[3]);
    let old = b.plain_structure("old", 4, &[("a", narrow, 7), ("b", int, 32)]);
    let btf = b.btf();
    let places =
        |id| btf.fields(id).into_iter().map(|f| (f.name, f.bit_offset, f.bitfield_bits)).collect::<Vec<_>>();
    assert_eq!(places(new), [("a".into(), 0, Some(3)), ("b".into(), 5, Some(1)), ("c".into(), 32, None)]);
    assert_eq!(places(old), [("a".into(), 7, Some(3)), ("b".into(), 32, None)]);
}

#[test]
fn enumerators_are_found_by_name_with_sign_and_width() {
    let mut b = Builder::new();
    let signed = b.enumeration("errs", true, &[("BAD", -1), ("GOOD", 0)]);
    let mask = b.enumeration("masks", false, &[("TOP", i32::MIN)]);
    let wide = b.enumeration64("wide", false, &[("HUGE", 1 << 40)]);
    let anonymous = b.enumeration("", false, &[("SOLO", 7)]);
    let btf = b.btf();
    assert_eq!(btf.enumerator("BAD"), Some((-1, signed)));
    assert_eq!(btf.enumerator("TOP"), Some((0x8000_0000, mask)));
    assert_eq!(btf.enumerator("HUGE"), Some((1 << 40, wide)));
    assert_eq!(btf.enumerator("SOLO"), Some((7, anonymous)));
    assert_eq!(btf.enumerator("NONE"), None);
    assert_eq!(btf.enum_values("errs"), [("BAD".to_owned(), -1), ("GOOD".to_owned(), 0)]);
    assert_eq!(btf.enum_named("wide"), Some(wide));
    let ty = |name: &str, id, bits, signed| Type::Enum { name: name.into(), id, bits, signed };
    assert_eq!(btf.lang_type(signed, KERNEL), ty("errs", signed, 32, true));
    assert_eq!(btf.lang_type(wide, KERNEL), ty("wide", wide, 64, false));
    assert_eq!(btf.lang_type(anonymous, KERNEL), ty("", anonymous, 32, false));
    assert_eq!(btf.c_definition(signed).as_deref(), Some("enum errs {\n\tBAD = -1,\n\tGOOD = 0,\n};"));
}

#[test]
fn tags_and_typedefs_are_separate_names() {
    let mut b = Builder::new();
    let int = b.int("int", 4, true);
    let s = b.structure("same", 4, &[("a", int, 0, 0)]);
    let t = b.typedef("same", int);
    let u = b.union("same", 4, &[("a", int, 0, 0)]);
    let again = b.structure("same", 8, &[]);
    let btf = b.btf();
    assert_eq!(
        (btf.struct_named("same"), btf.typedef_named("same"), btf.union_named("same")),
        (Some(s), Some(t), Some(u))
    );
    assert_ne!(s, again, "of several types of one name the first counts");
    assert_eq!((btf.enum_named("same"), btf.struct_named("")), (None, None));
    assert_eq!(btf.similar_types("smae"), ["same"]);
}

#[test]
fn a_declared_struct_is_read_as_its_definition() {
    let mut b = Builder::new();
    let (forward, lonely) = (b.forward("page", false), b.forward("lonely", true));
    let page = b.structure("page", 64, &[]);
    let btf = b.btf();
    assert_eq!(btf.struct_ref(forward).map(|s| (s.id, s.size)), Some((page, 64)));
    let lonely = btf.struct_ref(lonely).expect("a declared union is a union");
    assert_eq!((lonely.name.as_str(), lonely.size, lonely.is_union), ("lonely", 0, true));
    assert_eq!(btf.fields(lonely.id), []);
}

#[test]
fn functions_give_parameters_and_results() {
    let mut b = Builder::new();
    let int = b.int("int", 4, true);
    let page = b.structure("page", 64, &[]);
    let pointer = b.ptr(page);
    let proto = b.proto(int, &[("page", pointer), ("order", int)]);
    let nothing = b.proto(0, &[]);
    let f = b.function("mark_it", proto);
    b.function("drop_it", nothing);
    let btf = b.btf();
    let found = btf.function("mark_it").expect("it is there");
    assert_eq!(found.params, [("page".to_owned(), pointer), ("order".to_owned(), int)]);
    assert_eq!((found.ret, btf.function_id("mark_it")), (Some(int), Some(f)));
    assert_eq!(btf.function("drop_it").map(|p| p.ret), Some(None));
    assert_eq!(btf.function("page"), None);
    // The first answers come from a search, later ones from an index: they agree.
    for _ in 0..6 {
        assert_eq!((btf.function_id("mark_it"), btf.function_id("mark")), (Some(f), None));
    }
    assert_eq!(btf.similar_functions("mark_ti"), ["mark_it"]);
    assert_eq!(btf.c_name(pointer), "struct page *");
}

#[test]
fn raw_tracepoints_take_argument_names_from_the_functions_that_call_them() {
    let mut b = Builder::new();
    let int = b.int("int", 4, true);
    let void = b.ptr(0);
    let mut event = |name: &str, params: &[(&str, u32)]| {
        let proto = b.proto(0, params);
        let pointer = b.ptr(proto);
        b.typedef(&format!("btf_trace_{name}"), pointer);
    };
    event("a", &[("", void), ("", int)]);
    event("b", &[("", void), ("", int)]);
    event("c", &[("", void), ("named", int)]);
    event("d", &[("", void)]);
    let iter = b.proto(int, &[("__data", void), ("order", int)]);
    b.function("__traceiter_a", iter);
    let btf = b.btf();
    let args = |event: &str| {
        btf.raw_tracepoint_args(event).map(|a| a.into_iter().map(|(n, _)| n).collect::<Vec<_>>())
    };
    assert_eq!(args("a"), Some(vec!["order".to_owned()]));
    assert_eq!(args("b"), Some(vec!["arg0".to_owned()]));
    assert_eq!(args("c"), Some(vec!["named".to_owned()]));
    assert_eq!(args("d"), Some(vec![]));
    assert_eq!(args("e"), None);
    let names: Vec<&str> = btf.raw_tracepoints().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[test]
fn definitions_are_written_as_in_c() {
    let mut b = Builder::new();
    let (int, char) = (b.int("int", 4, true), b.int("char", 1, false));
    let name = b.array(char, 16);
    let inner = b.union("", 8, &[("a", int, 0, 0), ("b", int, 0, 0)]);
    let list = b.forward("list", false);
    let next = b.ptr(list);
    let s = b.structure(
        "thing",
        32,
        &[("name", name, 0, 0), ("flag", int, 128, 1), ("", inner, 160, 0), ("next", next, 192, 0)],
    );
    let text = "struct thing {\n\tchar name[16];\n\tint flag: 1;\n\tunion {\n\t\tint a;\n\t\tint b;\n\t};\n\tstruct list *next;\n};";
    assert_eq!(b.btf().c_definition(s).as_deref(), Some(text));
    assert_eq!(b.btf().c_definition(int), None);
}

#[test]
fn modules_and_programs_are_stacked_with_the_ids_of_each_their_own() {
    let mut kernel = Builder::new();
    let int = kernel.int("int", 4, true);
    let kernel_node = kernel.structure("node", 4, &[("key", int, 0, 0)]);
    let base = kernel.btf();
    // Both modules begin where the kernel ends, and the program where everything does.
    let module = |field: &str, values: &[(&str, i32)]| {
        let mut b = Builder::over(&kernel);
        let node = b.structure("node", 8, &[("kernel", kernel_node, 0, 0), (field, int, 32, 0)]);
        let pointer = b.ptr(node);
        let proto = b.proto(int, &[("node", pointer)]);
        b.function(&format!("{field}_walk"), proto);
        b.enumeration("kinds", false, values);
        b.array(node, 3);
        (b.btf_over(&base), node)
    };
    let (left, left_node) = module("left", &[("LEFT", 1)]);
    let (right, right_node) = module("right", &[("RIGHT", 2)]);
    assert_eq!(left_node, right_node, "each begins where the kernel ends");
    let mut program = Builder::new();
    let long = program.int("long", 8, true);
    let counter = program.structure("counter", 8, &[("hits", long, 0, 0)]);
    let program = program.btf();

    let (all, left_by) = left.on_top_of(&base).expect("they fit");
    let (all, right_by) = right.on_top_of(&all).expect("they fit");
    let (all, program_by) = program.on_top_of(&all).expect("they fit");
    assert_eq!(left_by, 0, "nothing was between it and the kernel");
    let fields = |id: u32| all.fields(id).into_iter().map(|f| f.name).collect::<Vec<_>>();
    assert_eq!(fields(left.moved_id(left_node, left_by)), ["kernel", "left"]);
    assert_eq!(fields(right.moved_id(right_node, right_by)), ["kernel", "right"]);
    assert_eq!(fields(program.moved_id(counter, program_by)), ["hits"]);
    assert_eq!(right.moved_id(kernel_node, right_by), kernel_node, "the kernel's types stay where they are");
    let right_first = all.field(right.moved_id(right_node, right_by), "kernel").expect("it has it");
    assert_eq!(right_first.type_id, kernel_node);
    let walk = all.function("right_walk").expect("it is there");
    assert_eq!(all.c_name(walk.params[0].1), "struct node *");
    assert_eq!(fields(all.record(walk.params[0].1).expect("a pointer").size_or_type), ["kernel", "right"]);
    assert_eq!(
        (all.enumerator("LEFT").map(|e| e.0), all.enumerator("RIGHT").map(|e| e.0)),
        (Some(1), Some(2))
    );
    assert!(right.is_own(right_node) && !right.is_own(kernel_node) && !program.is_own(0));
}

#[test]
fn types_that_contain_themselves_come_to_an_end() {
    let mut b = Builder::new();
    // 1 is a typedef of itself, 2 a pointer to itself, 3 an array of itself, 4 a struct of two of itself.
    b.typedef("loop", 1);
    b.ptr(2);
    b.array(3, 2);
    b.structure("node", 8, &[("", 4, 0, 0), ("", 4, 0, 0)]);
    // 5 takes several pointers (6) to itself.
    let params = [("a", 6), ("b", 6), ("c", 6)];
    b.proto(6, &params);
    b.ptr(5);
    let btf = b.btf();
    for id in 0..btf.type_count() {
        btf.lang_type(id, KERNEL);
        btf.sizeof(id);
        btf.fields(id);
        btf.field(id, "x");
        btf.c_name(id);
        btf.c_definition(id);
    }
    assert_eq!(btf.lang_type(1, KERNEL), Type::Void);
}

#[test]
fn bytes_that_are_no_btf_say_so() {
    let good = Builder::new().bytes();
    assert!(Btf::parse(good.clone()).is_ok());
    assert!(matches!(Btf::parse(Vec::new()), Err(BtfError::NotBtf)));
    assert!(matches!(Btf::parse(b"\x7fELF plus some more bytes.....".to_vec()), Err(BtfError::NotBtf)));
    let mut swapped = good.clone();
    swapped[..2].reverse();
    assert!(matches!(Btf::parse(swapped), Err(BtfError::OtherByteOrder)));
    let mut newer = good;
    newer[2] = 9;
    assert!(matches!(Btf::parse(newer), Err(BtfError::Version(9))));
    let mut unknown = Builder::new();
    unknown.record(31, false, "", 0, 0, &[]);
    assert!(matches!(Btf::parse(unknown.bytes()), Err(BtfError::UnknownKind { kind: 31, type_id: 1 })));
}

#[test]
fn references_to_what_is_not_there_are_errors() {
    let wrong = |make: &dyn Fn(&mut Builder)| {
        let mut b = Builder::new();
        make(&mut b);
        matches!(Btf::parse(b.bytes()), Err(BtfError::Damaged { type_id: Some(1), .. }))
    };
    assert!(wrong(&|b| {
        b.ptr(2);
    }));
    assert!(wrong(&|b| {
        b.array(2, 1);
    }));
    assert!(wrong(&|b| {
        b.structure("s", 4, &[("a", 9, 0, 0)]);
    }));
    assert!(wrong(&|b| {
        b.proto(0, &[("a", 9)]);
    }));
    assert!(wrong(&|b| {
        b.record_named_at(4000);
    }));
}

#[test]
fn no_cut_or_changed_byte_makes_reading_fail_worse_than_with_an_error() {
    let mut b = Builder::new();
    let int = b.int("int", 4, true);
    let inner = b.union("", 4, &[("a", int, 0, 0), ("b", int, 0, 3)]);
    let s = b.structure("thing", 8, &[("x", int, 0, 0), ("", inner, 32, 0)]);
    let pointer = b.ptr(s);
    let proto = b.proto(int, &[("p", pointer)]);
    b.function("f", proto);
    b.enumeration("e", true, &[("A", 1)]);
    let array = b.array(s, 3);
    b.typedef("t", array);
    let bytes = b.bytes();
    let mut read = 0;
    let mut look = |bytes: Vec<u8>| {
        let Ok(btf) = Btf::parse(bytes) else { return };
        read += 1;
        for id in 0..btf.type_count() {
            btf.lang_type(id, KERNEL);
            btf.fields(id);
            btf.sizeof(id);
            btf.c_declaration(id, "v");
            btf.c_definition(id);
        }
        btf.function("f");
        btf.enumerator("A");
        btf.raw_tracepoint_args("x");
        btf.struct_named("thing");
    };
    for end in 0..bytes.len() {
        look(bytes[..end].to_vec());
    }
    for at in 0..bytes.len() {
        for value in [0, 1, 2, 5, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = value;
            look(changed);
        }
    }
    assert!(read > 200, "changes that still parse are what this test is about, and there were {read}");
}
