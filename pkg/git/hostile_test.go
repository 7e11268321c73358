package git

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func FuzzParseModules(f *testing.F) {
	f.Add([]byte("[submodule \"a\"]\n\tpath = a\n\turl = ../a.git\n\tbranch = x\n"))
	f.Add([]byte("[submodule \"..\"]\npath=\"a\\tb\"\nurl=--upload-pack=x"))
	f.Add([]byte("[submodule]\npath = a\n[Submodule \"b\"]\n; c\nurl = file:///x"))
	parent, err := ParseURL("https://git.example.com/org/config.git", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		modules, err := parseModules(data)
		if err != nil {
			return
		}
		for _, m := range modules {
			if err := m.check(); err != nil {
				t.Fatalf("%+v came through: %v", m, err)
			}
			if u, err := parent.submodule(m.url); err == nil && (u.scheme != "https" || u.host != "git.example.com" && u.host != "git.example.com:443") {
				t.Fatalf("%q leads to %s", m.url, u)
			}
		}
	})
}

func seeds(f *testing.F, pattern string) [][]byte {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "signed", pattern))
	if err != nil || len(files) == 0 {
		f.Fatalf("no %s (%v)", pattern, err)
	}
	var out [][]byte
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, data)
	}
	return out
}

// FuzzCheck also holds that no change to a commit passes for signed.
func FuzzCheck(f *testing.F) {
	secret := map[string][]byte{}
	for i, key := range seeds(f, "keys/*-ada.*") {
		secret[string(rune('a'+i))] = key
	}
	keys, err := ParseKeys(secret)
	if err != nil {
		f.Fatal(err)
	}
	good := map[string]bool{}
	for _, commit := range seeds(f, "commits/*") {
		f.Add(commit)
		payload, _, err := splitSignature(commit)
		if err == nil {
			good[string(payload)] = true
		}
	}
	now := time.Date(2026, 1, 16, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, commit []byte) {
		if _, err := keys.check(commit, now); err != nil {
			return
		}
		if payload, _, err := splitSignature(commit); err != nil || !good[string(payload)] {
			t.Fatalf("passes for signed: %q", commit)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	for _, key := range seeds(f, "keys/*") {
		f.Add(key)
	}
	f.Add([]byte(`"a b",c namespaces="x,!git",valid-after=20260101 ssh-ed25519 AAAA c`))
	f.Fuzz(func(t *testing.T, value []byte) {
		keys, err := ParseKeys(map[string][]byte{"k": value})
		if err != nil {
			return
		}
		for _, k := range keys.ssh {
			if err := acceptable(k.key); err != nil {
				t.Fatalf("%s came through: %v", k.describe(), err)
			}
		}
	})
}
