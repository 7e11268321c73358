package main

import (
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestParseUp(t *testing.T) {
	cases := map[string]struct {
		args []string
		want upOptions
		err  string
	}{
		"a directory is enough":      {[]string{"--dir", "/d"}, upOptions{dir: "/d"}, ""},
		"audit is asked for":         {[]string{"--dir=/d", "--audit"}, upOptions{dir: "/d", audit: true}, ""},
		"no directory":               {nil, upOptions{}, "--dir is missing"},
		"a flag that does not exist": {[]string{"--dri", "/d"}, upOptions{}, "not defined"},
		"a word too many":            {[]string{"--dir", "/d", "now"}, upOptions{}, `"now"`},
		"help":                       {[]string{"--help"}, upOptions{}, flag.ErrHelp.Error()},
	}
	for name, c := range cases {
		got, err := parseUp(c.args)
		if c.err == "" && (err != nil || got != c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestUnknownCommandIsAnError(t *testing.T) {
	for _, args := range [][]string{{"down"}, {"up", "--bogus"}} {
		if err := run(args); err == nil || errors.Is(err, errReported) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestErrorLines(t *testing.T) {
	cases := map[string]bool{
		`E1123 05:41:02.026134   18414 controller.go:156] "Error while syncing"`: true,
		`F1123 05:41:02.026134   18414 main.go:1] gone`:                          true,
		`I1123 05:41:02.026134   18414 main.go:1] Error is only a word here`:     false,
		`Every line that begins like this`:                                       false,
		`{"level":"error","ts":"2026-11-23","msg":"no"}`:                         true,
		`{"level":"warn","ts":"2026-11-23","msg":"slow"}`:                        false,
		`{"time":"2026-11-23","level":"ERROR","msg":"no"}`:                       true,
		``: false,
	}
	for line, want := range cases {
		if got := isError(line); got != want {
			t.Errorf("isError(%q) = %v", line, got)
		}
	}
}
