package object_test

import (
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestRedactText(t *testing.T) {
	const r = object.Redacted
	tests := map[string]struct {
		text    string
		secrets []string
		want    string
	}{
		"what is no secret stays":                {"panic: dial tcp db:5432: connection refused", nil, "panic: dial tcp db:5432: connection refused"},
		"a value goes wherever it stands":        {`login "hunter2" failed, tried hunter2`, []string{"hunter2\n"}, `login "` + r + `" failed, tried ` + r},
		"the longest value goes first":           {"is abcdef", []string{"abc", "abcdef"}, "is " + r},
		"a short value goes, too":                {"pin 42", []string{"42"}, "pin " + r},
		"the marker is not marked again":         {"secrets a, e", []string{"hunter2", "zz"}, "secrets a, e"},
		"each line of a value goes":              {"read MIIEvQIBADANBg from file", []string{"-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----"}, "read " + r + " from file"},
		"the password within an URL goes":        {"cannot log in with correcthorse", []string{"postgres://app:correcthorse@db/app"}, "cannot log in with " + r},
		"a short word of a value stays":          {"no host db", []string{"postgres://app:correcthorse@db/app"}, "no host db"},
		"base64 of a value goes":                 {"header aHVudGVyMg==", []string{"hunter2"}, "header " + r + "=="},
		"an empty value is nothing":              {"as it is", []string{"", "\n"}, "as it is"},
		"user and password of an unknown URL":    {"dial https://app:pw@db/x", nil, "dial https://" + r + "db/x"},
		"a token of a service account":           {"sent eyJhbGciOi.eyJpc3Mi.c2ln-_x to it", nil, "sent " + r + " to it"},
		"a password that is named":               {"DB_PASSWORD=pw user=me", nil, "DB_PASSWORD=" + r + " user=me"},
		"a token in JSON":                        {`{"apiKey": "a b", "x": 1}`, nil, `{"apiKey": ` + r + `, "x": 1}`},
		"a bearer":                               {"Authorization: Bearer abcdefgh1", nil, "Authorization: Bearer " + r},
		"a key of a cloud":                       {"as AKIAIOSFODNN7EXAMPLE", nil, "as " + r},
		"a token of a Git host":                  {"as ghp_abcDEF123", nil, "as " + r},
		"lines, colors and other controls":       {"\x1b[31mone\r\ntwo\x00\u2028three\n", nil, "[31mone  two  three"},
		"bytes that are no text":                 {"a\xffb", nil, "a?b"},
		"a value that is split by what was read": {"end correct", []string{"correcthorse"}, "end correct"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := object.RedactText(tt.text, tt.secrets); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// FuzzRedactText wants one line of a length that the text bounds.
func FuzzRedactText(f *testing.F) {
	f.Add("login hunter2 failed", "hunter2", "x")
	f.Add("a\x00b\xff", "a\x00b", "b")
	f.Fuzz(func(t *testing.T, text, one, two string) {
		got := object.RedactText(text, []string{one, two})
		if strings.ContainsAny(got, "\n\r\x00\x1b") {
			t.Errorf("%q has control characters", got)
		}
		if len(got) > 20*len(text)+20 {
			t.Errorf("%d bytes of %d", len(got), len(text))
		}
	})
}
