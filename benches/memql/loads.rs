//! The programs that are traced.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A program of `benches/loads`, compiled.
pub fn compiled(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/loads").join(format!("{name}.c"));
    compile(name, &std::fs::read_to_string(&source).unwrap_or_else(|e| panic!("{}: {e}", source.display())))
}

/// A program of so many functions `f0`, `f1`..., each called once for each line of input.
pub fn functions(count: usize) -> PathBuf {
    let define = |n| format!("__attribute__((noinline)) void f{n}(void) {{ __asm__ volatile(\"\"); }}\n");
    let mut source: String = (0..count).map(define).collect();
    source += "#include <stdio.h>\nint main(void) { char line[64]; while (fgets(line, 64, stdin)) {\n";
    source.extend((0..count).map(|n| format!("f{n}();\n")));
    source += "puts(\"done\"); fflush(stdout); } }\n";
    compile(&format!("functions{count}"), &source)
}

/// A C++ program of so many functions, which calls `leaf` with as many different stacks as it is told, of five of them each.
pub fn cpp_functions(count: usize) -> PathBuf {
    let mut source = String::from(
        "#include <cstdio>\n#include <cstdlib>\n\
         extern \"C\" __attribute__((noinline)) void leaf() { __asm__ volatile(\"\"); }\n\
         namespace bench {\nextern void (*const nodes[])(long, int);\n\
         template <int N> struct node {\n\
         __attribute__((noinline)) static void call(long path, int depth) {\n\
         if (depth == 0) leaf(); else nodes[path](path * 31 % COUNT, depth - 1);\n\
         __asm__ volatile(\"\"); } };\nvoid (*const nodes[])(long, int) = {\n",
    );
    source.insert_str(0, &format!("#define COUNT {count}\n"));
    source.extend((0..count).map(|n| format!("node<{n}>::call,\n")));
    source += "};\n}\nint main() { char line[64]; while (fgets(line, 64, stdin)) {\n\
               for (long n = 0, all = atol(line); n < all; n++) bench::nodes[n](n * 31 % COUNT, 4);\n\
               puts(\"done\"); fflush(stdout); } }\n";
    compile_as("g++", "cc", &format!("nodes{count}"), &source)
}

fn compile(name: &str, source: &str) -> PathBuf {
    compile_as("gcc", "c", name, source)
}

fn compile_as(compiler: &str, extension: &str, name: &str, source: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (text, out) = (folder.join(format!("{name}.{extension}")), folder.join(format!("bench-{name}")));
    let known = std::fs::read_to_string(&text).is_ok_and(|known| known == source) && out.exists();
    if !known {
        std::fs::write(&text, source).expect("the target folder can be written");
        let status = Command::new(compiler)
            .args(["-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-o"])
            .args([&out, &text])
            .status()
            .unwrap_or_else(|e| panic!("the loads need {compiler}: {e}"));
        assert!(status.success(), "cannot compile {name}");
    }
    out
}

/// A load that waits for lines; it is killed when this is dropped.
pub struct Load {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Load {
    /// Starts it.
    pub fn start(program: &Path, args: &[&str]) -> Load {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("start {}: {e}", program.display()));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Load {
            child,
            stdin: stdin.expect("it is piped"),
            stdout: BufReader::new(stdout.expect("it is piped")),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says.
    pub fn said(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the load says something");
        line.trim().to_string()
    }

    /// Tells it something; gives its answer.
    pub fn ask(&mut self, line: &str) -> String {
        writeln!(self.stdin, "{line}").expect("the load listens");
        self.said()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
