package app

import "testing"

func TestParseKeyReadsWhatStringWrites(t *testing.T) {
	for in, want := range map[string]Key{
		"team-a/web": {Namespace: "team-a", Name: "web"},
		"":           {}, "web": {}, "/web": {}, "team-a/": {}, "a/b/c": {},
	} {
		got, err := ParseKey(in)
		if got != want || (err == nil) != (want != Key{}) {
			t.Errorf("ParseKey(%q) = %v, %v; want %v", in, got, err, want)
		}
		if err == nil && got.String() != in {
			t.Errorf("%q is written as %q", in, got)
		}
	}
}
