package tree

import (
	"strings"
	"unicode/utf8"
)

// BadName says what is wrong with the name of an entry; empty when nothing is.
// These are the names that git's own fsck reports, on every file system's terms:
// nothing of a tree is written to disk here, but what reads it may do so.
func BadName(name string) string {
	switch {
	case name == "" || name == "." || name == "..":
		return "the name is empty or made of dots"
	case strings.ContainsAny(name, `/\`):
		return "the name holds a slash or a backslash"
	case !utf8.ValidString(name):
		return "the name is not UTF-8"
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "the name holds a control character"
	case isDotGit(name):
		return "the name is one that a file system may take for .git"
	}
	return ""
}

// isDotGit knows NTFS (trailing blanks and dots, streams, short names) and HFS+
// (ignored code points); see git's path.c, is_ntfs_dotgit, and utf8.c, is_hfs_dotgit.
func isDotGit(name string) bool {
	name, _, _ = strings.Cut(name, ":")
	name = strings.Map(func(r rune) rune {
		if r >= 0x200c && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x206a && r <= 0x206f || r == 0xfeff {
			return -1
		}
		return r
	}, name)
	name = strings.ToLower(strings.TrimRight(name, " ."))
	return name == ".git" || name == "git~1"
}
