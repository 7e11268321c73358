package jsonnet_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/render/jsonnet"
)

func treeOf(text string) fstest.MapFS {
	tree := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(text)).Files {
		tree[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return tree
}

// cm defines a function that makes a ConfigMap with one datum.
const cm = `-- lib/cm.libsonnet --
function(name, value='') { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: name }, data: { v: value } }
`

func want(names ...string) []string {
	var out []string
	for _, n := range names {
		file, rest, _ := strings.Cut(n, " ")
		name, value, _ := strings.Cut(rest, "=")
		out = append(out, file+` {"apiVersion":"v1","data":{"v":"`+value+`"},"kind":"ConfigMap","metadata":{"name":"`+name+`"}}`)
	}
	return out
}

func TestWhatJsonnetGives(t *testing.T) {
	cases := map[string]struct {
		files string
		spec  v1alpha1.JsonnetSource
		want  []string
	}{
		"an object": {
			files: "-- a/x.jsonnet --\n(import '../lib/cm.libsonnet')('a')\n",
			want:  want("a/x.jsonnet a="),
		},
		"a list, with null left out": {
			files: "-- a/x.jsonnet --\nlocal cm = import '../lib/cm.libsonnet'; [cm('a'), null, [cm('b')]]\n",
			want:  want("a/x.jsonnet a=", "a/x.jsonnet b="),
		},
		"maps of maps, by name": {
			files: "-- a/x.jsonnet --\nlocal cm = import '../lib/cm.libsonnet'; { z: { b: cm('b') }, a: [cm('a')], off: null, kind: { of: cm('c') } }\n",
			want:  want("a/x.jsonnet a=", "a/x.jsonnet c=", "a/x.jsonnet b="),
		},
		"a List": {
			files: "-- a/x.jsonnet --\nlocal cm = import '../lib/cm.libsonnet'; { apiVersion: 'v1', kind: 'List', items: [cm('a'), cm('b')] }\n",
			want:  want("a/x.jsonnet a=", "a/x.jsonnet b="),
		},
		"files by name, libraries and hidden ones left out": {
			files: "-- a/y.jsonnet --\n(import '../lib/cm.libsonnet')('y')\n-- a/x.jsonnet --\n(import '../lib/cm.libsonnet')('x')\n-- a/.z.jsonnet --\nerror 'no'\n-- a/l.libsonnet --\nerror 'no'\n-- a/d/z.jsonnet --\nerror 'no'\n",
			want:  want("a/x.jsonnet x=", "a/y.jsonnet y="),
		},
		"the file that is named": {
			files: "-- a/y.jsonnet --\nerror 'no'\n-- a/d/x.libsonnet --\n(import '../../lib/cm.libsonnet')('x')\n",
			spec:  v1alpha1.JsonnetSource{File: "d/x.libsonnet"},
			want:  want("a/d/x.libsonnet x="),
		},
		"arguments and variables, as text and as code": {
			files: "-- a/x.jsonnet --\nfunction(t, c) (import 'cm.libsonnet')('x', '%s %d %s %d' % [t, c.n + 1, std.extVar('e'), std.extVar('f')[0]])\n",
			spec: v1alpha1.JsonnetSource{
				Libs: []string{"lib"}, TLA: map[string]string{"t": "1+1"}, TLACode: map[string]string{"c": "{n: 1}"},
				Ext: map[string]string{"e": "true"}, ExtCode: map[string]string{"f": "[40 + 2]"},
			},
			want: want("a/x.jsonnet x=1+1 2 true 42"),
		},
		"a library beside the file, then those of the spec, then the vendored": {
			files: `-- a/x.jsonnet --
local cm = import 'cm.libsonnet';
[cm('a', importstr 'a'), cm('b', importstr 'b'), cm('c', importstr 'c'), cm('d', importstr 'd')]
-- a/a --
beside
-- l2/a --
no
-- l2/b --
spec
-- a/vendor/b --
no
-- a/vendor/c --
near
-- vendor/c --
no
-- vendor/d --
root
`,
			spec: v1alpha1.JsonnetSource{Libs: []string{"lib", "./l2/"}},
			want: want(`a/x.jsonnet a=beside\n`, `a/x.jsonnet b=spec\n`, `a/x.jsonnet c=near\n`, `a/x.jsonnet d=root\n`),
		},
		"bytes of a file": {
			files: "-- a/x.jsonnet --\n(import '../lib/cm.libsonnet')('a', std.base64(importbin 'b'))\n-- a/b --\nx\n",
			want:  want("a/x.jsonnet a=eAo="),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			items, err := jsonnet.Evaluate(treeOf(cm+c.files), jsonnet.Params{Path: "a", Spec: c.spec})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, item := range items {
				got = append(got, item.File+" "+string(item.Content))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

func TestWhatJsonnetIsRefused(t *testing.T) {
	cases := map[string]struct {
		files string
		spec  v1alpha1.JsonnetSource
		want  string
	}{
		"text":                       {"-- a/x.jsonnet --\n'text'\n", v1alpha1.JsonnetSource{}, "a/x.jsonnet: $: here stands a string; want Kubernetes objects"},
		"a number in a list":         {"-- a/x.jsonnet --\n{ a: { b: [null, 1] } }\n", v1alpha1.JsonnetSource{}, "a/x.jsonnet: $.a.b[1]: here stands a number"},
		"a kind without a version":   {"-- a/x.jsonnet --\n{ s: { kind: 'Service' } }\n", v1alpha1.JsonnetSource{}, "a/x.jsonnet: $.s.kind: here stands a string"},
		"an item of a List":          {"-- a/x.jsonnet --\n{ apiVersion: 'v1', kind: 'List', items: [true] }\n", v1alpha1.JsonnetSource{}, "$.items[0]: here stands a boolean"},
		"a function without values":  {"-- a/x.jsonnet --\nfunction(a) a\n", v1alpha1.JsonnetSource{}, "a/x.jsonnet: evaluate Jsonnet: Missing argument: a"},
		"a syntax error":             {"-- a/x.jsonnet --\n{\n  a: 1,,\n}\n", v1alpha1.JsonnetSource{}, "a/x.jsonnet:2: evaluate Jsonnet: Unexpected: \",\""},
		"an error of a library":      {"-- a/x.jsonnet --\nlocal f = import '../l.libsonnet';\n\n[f()]\n-- l.libsonnet --\nfunction()\n  error 'not so'\n", v1alpha1.JsonnetSource{}, "l.libsonnet:2: evaluate Jsonnet: not so (from a/x.jsonnet:3"},
		"a syntax error of another":  {"-- a/x.jsonnet --\nimport 'l.libsonnet'\n-- a/l.libsonnet --\n{\n", v1alpha1.JsonnetSource{}, "a/x.jsonnet:1: evaluate Jsonnet: a/l.libsonnet:2:1 Unexpected: end of file"},
		"a variable that is missing": {"-- a/x.jsonnet --\nstd.extVar('v')\n", v1alpha1.JsonnetSource{}, "Undefined external variable: v"},
		"code that is none":          {"-- a/x.jsonnet --\nstd.extVar('v')\n", v1alpha1.JsonnetSource{ExtCode: map[string]string{"v": "1 +"}}, "evaluate Jsonnet: "},
		"a native function":          {"-- a/x.jsonnet --\nstd.native('parseYaml')('a')\n", v1alpha1.JsonnetSource{}, "a/x.jsonnet:1: evaluate Jsonnet: "},
		"recursion":                  {"-- a/x.jsonnet --\nlocal f(x) = f(x + 1) + 1; f(1)\n", v1alpha1.JsonnetSource{}, "a/x.jsonnet:1: evaluate Jsonnet: max stack frames exceeded."},
		"imports in a circle":        {"-- a/x.jsonnet --\nimport 'y.libsonnet'\n-- a/y.libsonnet --\nimport 'x.jsonnet'\n", v1alpha1.JsonnetSource{}, "evaluate Jsonnet: "},
		"an import out of the tree":  {"-- a/x.jsonnet --\nimport '../../../etc/passwd'\n", v1alpha1.JsonnetSource{}, "a/x.jsonnet:1: evaluate Jsonnet: import \"../../../etc/passwd\": the path leaves the repository"},
		"one through a library":      {"-- a/x.jsonnet --\nimportstr '../../../etc/passwd'\n", v1alpha1.JsonnetSource{Libs: []string{"l/m/n"}}, "there is no such file"},
		"a library out of the tree":  {"-- a/x.jsonnet --\nimportstr 'etc/passwd'\n", v1alpha1.JsonnetSource{Libs: []string{"../.."}}, "there is no such file"},
		"an absolute import":         {"-- a/x.jsonnet --\nimportstr '/etc/passwd'\n", v1alpha1.JsonnetSource{}, "imports are relative"},
		"an absolute file as bytes":  {"-- a/x.jsonnet --\nimportbin '/dev/zero'\n", v1alpha1.JsonnetSource{}, "imports are relative"},
		"an import of a URL":         {"-- a/x.jsonnet --\nimport 'https://example.com/x'\n", v1alpha1.JsonnetSource{}, "there is no such file"},
		"an import of nothing":       {"-- a/x.jsonnet --\nimport 'k.libsonnet'\n", v1alpha1.JsonnetSource{}, "there is no such file beside the importing one, nor in [a/vendor vendor]"},
		"no file":                    {"-- a/x.libsonnet --\n{}\n", v1alpha1.JsonnetSource{}, "a: the directory has no .jsonnet file"},
		"a file that is missing":     {"-- a/x.jsonnet --\n{}\n", v1alpha1.JsonnetSource{File: "y.jsonnet"}, "a/y.jsonnet: spec.source.jsonnet.file: there is no such file"},
		"a file out of the tree":     {"-- a/x.jsonnet --\n{}\n", v1alpha1.JsonnetSource{File: "../../y.jsonnet"}, "spec.source.jsonnet.file: the path leaves the repository"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			items, err := jsonnet.Evaluate(treeOf(c.files), jsonnet.Params{Path: "a", Spec: c.spec})
			class, _ := fault.ClassOf(err)
			if err == nil || !strings.Contains(err.Error(), c.want) || class != fault.Permanent {
				t.Errorf("error is %v (%s), want %q in it", err, class, c.want)
			}
			if err != nil && (len(err.Error()) > 3000 || strings.Contains(err.Error(), "\n")) || items != nil {
				t.Errorf("error has %d bytes: %q", len(err.Error()), err)
			}
		})
	}
}
