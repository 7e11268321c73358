package fields_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/fields"
)

// parse reads YAML; the numbers are those of the API.
func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(b, &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

// with adds managed fields to YAML: each line is manager, operation, subresource or -, and the fields.
func with(t *testing.T, text string, entries ...string) *unstructured.Unstructured {
	t.Helper()
	u := parse(t, text)
	var managed []any
	for _, e := range entries {
		part := strings.SplitN(e, " ", 4)
		entry := map[string]any{"manager": part[0], "operation": part[1], "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": parse(t, part[3]).Object}
		if part[2] != "-" {
			entry["subresource"] = part[2]
		}
		managed = append(managed, entry)
	}
	if err := unstructured.SetNestedSlice(u.Object, managed, "metadata", "managedFields"); err != nil {
		t.Fatal(err)
	}
	return u
}

func pointers(t *testing.T, texts ...string) []fields.Pointer {
	t.Helper()
	var out []fields.Pointer
	for _, text := range texts {
		p, err := fields.ParsePointer(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestParsePointer(t *testing.T) {
	tests := map[string]struct {
		text string
		want fields.Pointer
		err  bool
	}{
		"a path":                    {text: "/a/b", want: fields.Pointer{"a", "b"}},
		"escapes":                   {text: "/a~1b~0c~01", want: fields.Pointer{"a/b~c~1"}},
		"an empty name":             {text: "/", want: fields.Pointer{""}},
		"the whole document":        {text: "", err: true},
		"no slash":                  {text: "a", err: true},
		"a tilde of its own":        {text: "/a~b", err: true},
		"a tilde at the end":        {text: "/a~", err: true},
		"dots and stars are a name": {text: "/../*", want: fields.Pointer{"..", "*"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := fields.ParsePointer(tt.text)
			if diff := cmp.Diff(tt.want, got); diff != "" || (err != nil) != tt.err {
				t.Error(err, diff)
			}
			if err == nil && got.String() != tt.text {
				t.Errorf("back again it is %q", got.String())
			}
		})
	}
}

func FuzzParsePointer(f *testing.F) {
	for _, seed := range []string{"/", "/a/b", "/a~1b~0c", "", "~", "/~2", "//", "/é/\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := fields.ParsePointer(text)
		if err == nil && p.String() != text {
			t.Errorf("%q comes back as %q", text, p.String())
		}
	})
}

const pod = `{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {x: "1", "b/c": "2"}, finalizers: [one, two]},
  spec: {replicas: 3, args: [a, b], containers: [{name: injected, image: i}, {name: web, image: w, ports: [{containerPort: 80, protocol: TCP}, {containerPort: 80, protocol: UDP}]}]}}`

const mine = `plumb Apply - {"f:metadata": {"f:annotations": {"f:x": {}, "f:b/c": {}}, "f:finalizers": {"v:\"one\"": {}}}, "f:spec": {"f:replicas": {}, "f:args": {},
  "f:containers": {'k:{"name":"web"}': {".": {}, "f:name": {}, "f:image": {}, "f:ports": {'k:{"containerPort":80,"protocol":"UDP"}': {".": {}, "f:containerPort": {}, "f:protocol": {}}}}}}}`

// TestHash: two states have the same hash exactly when they differ in what the
// pointers say.
func TestHash(t *testing.T) {
	lost := func(part string) string {
		if !strings.Contains(mine, part) {
			t.Fatalf("nothing to lose: %s", part)
		}
		return strings.Replace(mine, part, "", 1)
	}
	tests := map[string]struct {
		now     string // Plumb's entry after the change
		ignored []string
		moves   bool
	}{
		"a lost field":                          {now: lost(`"f:replicas": {},`), moves: true},
		"a lost field that is ignored":          {now: lost(`"f:replicas": {},`), ignored: []string{"/spec/replicas"}},
		"another lost field":                    {now: lost(`"f:replicas": {},`), ignored: []string{"/spec/args", "/spec/nothing/there", "/metadata/annotations/x"}, moves: true},
		"below what is ignored":                 {now: lost(`"f:x": {}, `), ignored: []string{"/metadata/annotations"}},
		"an escaped name":                       {now: lost(`, "f:b/c": {}`), ignored: []string{"/metadata/annotations/b~1c"}},
		"the element by its index":              {now: lost(`, "f:image": {}`), ignored: []string{"/spec/containers/1/image"}},
		"another element":                       {now: lost(`, "f:image": {}`), ignored: []string{"/spec/containers/0/image"}, moves: true},
		"an element of a set":                   {now: strings.Replace(mine, `"v:\"one\"": {}`, "", 1), ignored: []string{"/metadata/finalizers/0"}},
		"another element of a set":              {now: strings.Replace(mine, `"v:\"one\"": {}`, `"v:\"x\"": {}`, 1), ignored: []string{"/metadata/finalizers/1"}, moves: true},
		"two keys":                              {now: lost(`"f:containerPort": {}, `), ignored: []string{"/spec/containers/1/ports/1/containerPort"}},
		"the other one of two keys":             {now: lost(`"f:containerPort": {}, `), ignored: []string{"/spec/containers/1/ports/0/containerPort"}, moves: true},
		"a part of a list that is one field":    {now: lost(`"f:args": {},`), ignored: []string{"/spec/args/1"}},
		"an index that is none":                 {now: lost(`, "f:image": {}`), ignored: []string{"/spec/containers/01/image", "/spec/containers/-/image", "/spec/containers/9/image"}, moves: true},
		"what others own":                       {now: mine + ` `, ignored: []string{"/spec/replicas"}},
		"all of the object but the annotations": {now: lost(`"f:x": {}, `), ignored: []string{"/spec"}, moves: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ignored := pointers(t, tt.ignored...)
			before := fields.Hash(with(t, pod, mine, `other Update - {"f:spec": {"f:x": {}}}`), ignored...)
			after := fields.Hash(with(t, pod, tt.now, `other Update - {"f:spec": {"f:y": {}}}`), ignored...)
			if before == "" || (before != after) != tt.moves {
				t.Errorf("before %q, after %q", before, after)
			}
		})
	}
	if hash := fields.Hash(with(t, pod, `other Apply - {"f:spec": {}}`)); hash != "" {
		t.Errorf("Plumb owns nothing, and the hash is %q", hash)
	}
}

func TestLeave(t *testing.T) {
	const spec = `{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {x: git}}, spec: {replicas: 1, args: [git, b], volumes: [{name: v, emptyDir: {sizeLimit: 1Gi}}],
  containers: [{name: web, image: git, ports: [{containerPort: 80}]}, {name: second, image: git}]}}`
	other := func(tree string) string { return "other Update - " + tree }
	tests := map[string]struct {
		live     string
		owners   []string
		ignored  []string
		expected func(*unstructured.Unstructured)
	}{
		"what Plumb alone owns is sent as it is": {
			live: pod, owners: []string{mine}, ignored: []string{"/spec/replicas", "/metadata/annotations/x"},
			expected: func(u *unstructured.Unstructured) {
				put(u, int64(3), "spec", "replicas")
				put(u, "1", "metadata", "annotations", "x")
			},
		},
		"what another owns is left out": {
			live: pod, owners: []string{mine, other(`{"f:spec": {"f:replicas": {}}}`)}, ignored: []string{"/spec/replicas"},
			expected: func(u *unstructured.Unstructured) { unstructured.RemoveNestedField(u.Object, "spec", "replicas") },
		},
		"what a former declarer owns, who loses it, is sent": {
			live: pod, owners: []string{`argocd-controller Apply - {"f:spec": {"f:replicas": {}}}`}, ignored: []string{"/spec/replicas"},
			expected: func(u *unstructured.Unstructured) { put(u, int64(3), "spec", "replicas") },
		},
		"what nobody owns is left out": {
			live: pod, owners: []string{other(`{"f:spec": {"f:args": {}}}`)}, ignored: []string{"/spec/replicas"},
			expected: func(u *unstructured.Unstructured) { unstructured.RemoveNestedField(u.Object, "spec", "replicas") },
		},
		"what the live object lacks is left out": {
			live: `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {}}`, owners: []string{mine}, ignored: []string{"/metadata/annotations/x"},
			expected: func(u *unstructured.Unstructured) {
				unstructured.RemoveNestedField(u.Object, "metadata", "annotations", "x")
			},
		},
		"what Git does not say, and Plumb owns, stays": {
			live: pod, owners: []string{mine}, ignored: []string{"/metadata/annotations/b~1c"},
			expected: func(u *unstructured.Unstructured) { put(u, "2", "metadata", "annotations", "b/c") },
		},
		"an index is of the live object, and means the same element in Git's": {
			live: pod, owners: []string{mine}, ignored: []string{"/spec/containers/1/image"},
			expected: func(u *unstructured.Unstructured) { container(u, 0)["image"] = "w" },
		},
		"an element that Git does not have": {
			live: pod, owners: []string{mine, other(`{"f:spec": {"f:containers": {'k:{"name":"injected"}': {".": {}, "f:name": {}, "f:image": {}}}}}`)},
			ignored: []string{"/spec/containers/0/image"}, expected: func(*unstructured.Unstructured) {},
		},
		"a whole element that another owns": {
			live: pod, owners: []string{other(`{"f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:name": {}, "f:image": {}}}}}`)},
			ignored: []string{"/spec/containers/1"},
			expected: func(u *unstructured.Unstructured) {
				containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "containers")
				put(u, containers[1:], "spec", "containers")
			},
		},
		"a part of a list that is one field": {
			live: pod, owners: []string{mine}, ignored: []string{"/spec/args/0"},
			expected: func(u *unstructured.Unstructured) { put(u, []any{"a", "b"}, "spec", "args") },
		},
		"what is left empty stays": {
			live: `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {volumes: [{name: v, emptyDir: {sizeLimit: 2Gi}}]}}`,
			owners: []string{
				other(`{"f:spec": {"f:volumes": {'k:{"name":"v"}': {".": {}, "f:name": {}, "f:emptyDir": {"f:sizeLimit": {}}}}}}`),
			},
			ignored: []string{"/spec/volumes/0/emptyDir/sizeLimit"},
			expected: func(u *unstructured.Unstructured) {
				volumes := u.Object["spec"].(map[string]any)["volumes"].([]any)
				volumes[0].(map[string]any)["emptyDir"] = map[string]any{}
			},
		},
		"a part of the key of an element that Git leaves to its default": {
			live: pod, owners: []string{strings.ReplaceAll(mine, "UDP", "TCP"), other(`{"f:spec": {"f:x": {}}}`)},
			ignored: []string{"/spec/containers/1/ports/0/protocol"},
			expected: func(u *unstructured.Unstructured) {
				container(u, 0)["ports"].([]any)[0].(map[string]any)["protocol"] = "TCP"
			},
		},
		"an index that the live object does not have, of an element that it has": {
			live: `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: second, image: w}]}}`,
			owners: []string{
				other(`{"f:spec": {"f:containers": {'k:{"name":"second"}': {".": {}, "f:name": {}, "f:image": {}}}}}`),
			},
			ignored: []string{"/spec/containers/1/image"}, expected: func(*unstructured.Unstructured) {},
		},
		"an element of which another owns a part": {
			live: pod, owners: []string{
				`plumb Apply - {"f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:name": {}, "f:ports": {}}}}}`,
				other(`{"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}}`),
			},
			ignored: []string{"/spec/containers/1"},
			expected: func(u *unstructured.Unstructured) {
				containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "containers")
				ports := []any{map[string]any{"containerPort": int64(80), "protocol": "TCP"}, map[string]any{"containerPort": int64(80), "protocol": "UDP"}}
				put(u, []any{containers[1], map[string]any{"name": "web", "ports": ports}}, "spec", "containers")
			},
		},
		"of a part, what each owns": {
			live:   `{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {x: live, y: theirs}}, spec: {}}`,
			owners: []string{`plumb Apply - {"f:metadata": {"f:annotations": {"f:x": {}}}}`, other(`{"f:metadata": {"f:annotations": {"f:y": {}}}}`)},
			ignored: []string{
				"/metadata/annotations",
			},
			expected: func(u *unstructured.Unstructured) { put(u, "live", "metadata", "annotations", "x") },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			live, got, want := with(t, tt.live, tt.owners...), parse(t, spec), parse(t, spec)
			untouched := live.DeepCopy()
			fields.Leave(got, live, pointers(t, tt.ignored...), nil)
			tt.expected(want)
			if diff := cmp.Diff(want.Object, got.Object); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(untouched.Object, live.Object); diff != "" {
				t.Error("the live object changed", diff)
			}
		})
	}
}

// TestLeaveTellsKeysApart: an element with the whole key goes before one to which
// the key might belong by a default.
func TestLeaveTellsKeysApart(t *testing.T) {
	tcp, udp := `{containerPort: 80, hostPort: 1}`, `{containerPort: 80, protocol: UDP, hostPort: 1}`
	git := parse(t, `{spec: {ports: [`+tcp+`, `+udp+`]}}`)
	live := with(t, `{metadata: {name: a}, spec: {ports: [{containerPort: 80, protocol: TCP, hostPort: 7}, {containerPort: 80, protocol: UDP, hostPort: 8}]}}`,
		`x Update - {"f:spec": {"f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:hostPort": {}}, 'k:{"containerPort":80,"protocol":"UDP"}': {".": {}, "f:hostPort": {}}}}}`)
	fields.Leave(git, live, pointers(t, "/spec/ports/1/hostPort"), nil)
	want := parse(t, `{spec: {ports: [`+tcp+`, {containerPort: 80, protocol: UDP}]}}`)
	if diff := cmp.Diff(want.Object, git.Object); diff != "" {
		t.Error(diff)
	}
}

func put(u *unstructured.Unstructured, value any, path ...string) {
	if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
		panic(err)
	}
}

func container(u *unstructured.Unstructured, i int) map[string]any {
	return u.Object["spec"].(map[string]any)["containers"].([]any)[i].(map[string]any)
}

func TestTakeoverKeepsOtherVersionsAndOthers(t *testing.T) {
	u := with(t, pod, mine, `helm Update - {"f:spec": {"f:a": {}}}`, `helm Apply - {"f:spec": {"f:b": {}}}`, `argocd-controller Update status {"f:status": {}}`, `kubectl-edit Update - {"f:spec": {"f:c": {}}}`)
	later := u.GetManagedFields()
	later[2].APIVersion = "v2"
	u.SetManagedFields(later)
	entries, needed := fields.Takeover(u)
	var got []string
	for _, e := range entries {
		got = append(got, e.Manager+" "+string(e.Operation)+" "+e.APIVersion)
	}
	want := []string{"helm Apply v2", "argocd-controller Update v1", "kubectl-edit Update v1", "plumb Apply v1"}
	if diff := cmp.Diff(want, got); diff != "" || !needed {
		t.Error(needed, diff)
	}
	if own := string(entries[3].FieldsV1.GetRawBytes()); !strings.Contains(own, `"f:a":{}`) || strings.Contains(own, `"f:b"`) || !strings.Contains(own, `"f:replicas":{}`) {
		t.Errorf("Plumb owns %s", own)
	}
	u.SetManagedFields(entries)
	if fields.NeedsTakeover(u) {
		t.Error("it does not come to an end")
	}
}
