package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/object"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// install returns a client of a cluster that has the CRD, and a namespace.
func install(t *testing.T) (*cluster.Client, string) {
	t.Helper()
	kube := kubetest.Start(t)
	c, err := cluster.Open(cluster.Options{Kubeconfig: kube.Kubeconfig()})
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range v1alpha1.CRDs() {
		if err := c.EnsureCRD(t.Context(), crd); err != nil {
			t.Fatalf("the API server refuses the CRD: %v", err)
		}
	}
	return c.As(cluster.Identity{}), kube.Namespace(t)
}

// apply applies an Application strictly: an unknown field is an error.
func apply(t *testing.T, c *cluster.Client, namespace, name, spec string) (*v1alpha1.Application, error) {
	t.Helper()
	application := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "plumb.dev/v1alpha1", "kind": "Application",
		"metadata": map[string]any{"namespace": namespace, "name": name}}}
	var content map[string]any
	if err := yaml.Unmarshal([]byte(spec), &content); err != nil {
		t.Fatalf("spec of the test: %v", err)
	}
	application.Object["spec"] = content
	live, err := c.Apply(t.Context(), object.New(application, "", 0), cluster.ApplyOptions{})
	if err != nil {
		return nil, err
	}
	typed := &v1alpha1.Application{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(live.Object, typed); err != nil {
		t.Fatalf("what the API server accepted does not decode: %v", err)
	}
	return typed, nil
}

const everything = `
source:
  repo: https://github.com/acme/config
  ref: main
  path: apps/web
  secretRef: {name: git-read}
  kustomize:
    namePrefix: eu-
    images: [nginx=registry.local/nginx:1]
    patches: [{patch: "[]", target: {kind: Deployment}}]
    components: [../../components/tls]
    commonLabels: {team: a}
destination: {namespace: web, createNamespace: true}
serviceAccountName: deployer
sync:
  mode: manual
  prune: false
  pruneLimit: "3"
  drift: warn
  interval: 30s
  timeout: 10m
  retry: {limit: 1, base: 1s, max: 2s}
  onFailure: keep
suspend: true
deletionPolicy: orphan
`

// source is a spec of a valid repo and more lines of source.
func source(lines string) string {
	return "source: {repo: 'https://github.com/acme/config', " + lines + "}"
}

// spec is a valid source and more fields of spec.
func spec(lines string) string { return "source: {repo: 'https://github.com/acme/config'}\n" + lines }

func TestSchema(t *testing.T) {
	c, namespace := install(t)
	const duration = "must be a duration from 1s to 24h, such as 30s or 5m"
	cases := map[string]struct {
		spec string
		want string // part of the error; empty: accepted
	}{
		"a repo alone is enough":                        {spec: spec("")},
		"everything that works together":                {spec: everything},
		"empty fields that do not work yet are nothing": {spec: spec("dependsOn: []\nhealth: []\nignore: []\nimages: []\nsync: {windows: []}")},
		"an empty chart and repo":                       {spec: source("helm: {chart: '', repo: ''}")},
		"an empty semver beside a ref":                  {spec: source("ref: main, semver: ''")},
		"an ssh URL":                                    {spec: "source: {repo: 'ssh://git@github.com/acme/config.git'}"},
		"an scp-like URL":                               {spec: "source: {repo: 'git@github.com:acme/config.git'}"},
		"an http URL, which the worker judges":          {spec: "source: {repo: 'http://127.0.0.1:3000/acme/config'}"},
		"the root as path":                              {spec: source("path: '.'")},
		"dots inside a path":                            {spec: source("path: apps/web..v2/.x")},
		"a ref of slashes":                              {spec: source("ref: refs/heads/release/1.2")},
		"a full SHA":                                    {spec: source("ref: 0123456789abcdef0123456789abcdef01234567")},
		"manual mode":                                   {spec: spec("sync: {mode: manual}")},
		"a count as pruneLimit":                         {spec: spec("sync: {pruneLimit: '10'}")},
		"fractions of a minute":                         {spec: spec("sync: {timeout: 1.5m}")},
		"a duration as Go prints it":                    {spec: spec("sync: {timeout: 1h0m0s}")},
		"no retries":                                    {spec: spec("sync: {retry: {limit: 0}}")},

		"no source":           {spec: "suspend: true", want: "spec.source: Required value"},
		"no repo":             {spec: "source: {path: x}", want: "repo is required, unless helm names a chart"},
		"an unknown field":    {spec: spec("sycn: {}"), want: ".spec.sycn: field not declared in schema"},
		"an unknown renderer": {spec: source("cue: {}"), want: ".spec.source.cue: field not declared in schema"},

		"a file URL":                  {spec: "source: {repo: 'file:///etc'}", want: "must be an https, http, ssh or oci URL"},
		"an option as repo":           {spec: "source: {repo: '--upload-pack=x'}", want: "must be an https, http, ssh or oci URL"},
		"an ext transport":            {spec: "source: {repo: 'ext::sh -c id'}", want: "must be an https, http, ssh or oci URL"},
		"a newline in the repo":       {spec: `source: {repo: "https://a/b\nc"}`, want: "must be an https, http, ssh or oci URL"},
		"credentials in the repo":     {spec: "source: {repo: 'https://me:secret@github.com/acme/config'}", want: "must not carry credentials"},
		"an endless repo":             {spec: "source: {repo: 'https://a/" + strings.Repeat("b", 2048) + "'}", want: "spec.source.repo: Too long"},
		"a ref that is an option":     {spec: source("ref: --upload-pack=x"), want: "must be a branch, a tag"},
		"a ref with dots":             {spec: source("ref: ../../x"), want: "must be a branch, a tag"},
		"a ref with a newline":        {spec: source(`ref: "a\nb"`), want: "must be a branch, a tag"},
		"a ref with a blank":          {spec: source("ref: 'a b'"), want: "must be a branch, a tag"},
		"a ref with a backslash":      {spec: source(`ref: 'a\b'`), want: "must be a branch, a tag"},
		"a ref of a lock file":        {spec: source("ref: a.lock"), want: "must be a branch, a tag"},
		"an absolute path":            {spec: source("path: /etc"), want: "must be a relative path"},
		"a path that leaves the tree": {spec: source("path: apps/../../etc"), want: "must be a relative path"},
		"a path of two dots":          {spec: source("path: '..'"), want: "must be a relative path"},
		"a path with backslashes":     {spec: source(`path: 'a\..\b'`), want: "must be a relative path"},
		"a path with NUL":             {spec: source(`path: "a\0b"`), want: "must be a relative path"},
		"an empty path":               {spec: source("path: ''"), want: "spec.source.path"},
		"two renderers":               {spec: source("helm: {}, kustomize: {}"), want: "at most one of directory, kustomize, helm and jsonnet"},
		"a Secret of another place":   {spec: source("secretRef: {name: ../x}"), want: "spec.source.secretRef.name"},
		"values that are no map":      {spec: source("helm: {values: [1]}"), want: "spec.source.helm.values"},
		"a value file from the root":  {spec: source("helm: {valueFiles: [/etc/passwd]}"), want: "spec.source.helm.valueFiles"},
		"a remote component":          {spec: source("kustomize: {components: ['https://x/y']}"), want: "spec.source.kustomize.components"},

		"an account of another place":     {spec: spec("serviceAccountName: ../x"), want: "must be the name of a ServiceAccount"},
		"an account of another namespace": {spec: spec("serviceAccountName: 'kube-system:admin'"), want: "must be the name of a ServiceAccount"},
		"a namespace with dots":           {spec: spec("destination: {namespace: a.b}"), want: "spec.destination.namespace"},
		"an unknown mode":                 {spec: spec("sync: {mode: always}"), want: `supported values: "auto", "manual"`},
		"an unknown drift policy":         {spec: spec("sync: {drift: maybe}"), want: `supported values: "heal", "warn", "off"`},
		"an unknown deletion policy":      {spec: spec("deletionPolicy: keep"), want: `supported values: "delete", "orphan"`},
		"a share over 100%":               {spec: spec("sync: {pruneLimit: 101%}"), want: "must be a share of 0% to 100%, or a count"},
		"a negative count":                {spec: spec("sync: {pruneLimit: '-1'}"), want: "must be a share of 0% to 100%, or a count"},
		"a negative timeout":              {spec: spec("sync: {timeout: -5m}"), want: duration},
		"a timeout that overflows":        {spec: spec("sync: {timeout: 9223372036854775808ns}"), want: duration},
		"a timeout that sums to overflow": {spec: spec("sync: {timeout: 99999h99999h99999h99999h99999h}"), want: duration},
		"a tiny interval":                 {spec: spec("sync: {interval: 1ms}"), want: duration},
		"a zero interval":                 {spec: spec("sync: {interval: 0s}"), want: duration},
		"a number as interval":            {spec: spec("sync: {interval: 30}"), want: "spec.sync.interval"},
		"a day as interval":               {spec: spec("sync: {interval: 1d}"), want: duration},
		"an endless interval":             {spec: spec("sync: {interval: 25h}"), want: duration},
		"a tiny base":                     {spec: spec("sync: {retry: {base: 10ms}}"), want: duration},
		"a base longer than max":          {spec: spec("sync: {retry: {base: 10m}}"), want: "base must not be longer than max"},
		"a negative limit":                {spec: spec("sync: {retry: {limit: -1}}"), want: "greater than or equal to 0"},

		"semver and ref":                 {spec: source("ref: main, semver: '>=1'"), want: "ref and semver exclude each other"},
		"semver":                         {spec: source("semver: '>=1'")},
		"keys of signers":                {spec: source("verify: {secretRef: {name: k}}")},
		"submodules":                     {spec: source("submodules: true")},
		"an artifact by digest":          {spec: "source: {repo: 'oci://registry.local/config', ref: 'sha256:" + strings.Repeat("a", 64) + "'}"},
		"an artifact with a credential":  {spec: "source: {repo: 'oci://u:p@registry.local/config'}", want: "must not carry credentials"},
		"a digest that is too short":     {spec: source("ref: 'sha256:abc'"), want: "must be a branch"},
		"jsonnet":                        {spec: source("jsonnet: {tla: {a: b}, tlaCode: {a: '1'}, ext: {a: b}, extCode: {a: '1'}, libs: [vendor], file: main.jsonnet}")},
		"a Jsonnet library elsewhere":    {spec: source("jsonnet: {libs: [/etc]}"), want: "should match"},
		"substitution":                   {spec: source("substitute: {vars: {a: b}, from: [{kind: Secret, name: x, optional: true}]}")},
		"substitution from a Pod":        {spec: source("substitute: {from: [{kind: Pod, name: x}]}"), want: "supported values"},
		"decryption":                     {spec: source("decryption: {secretRef: {name: k}}")},
		"a chart of a repository":        {spec: source("helm: {chart: web, repo: 'https://charts.local', version: '1.x', digest: 'sha256:" + strings.Repeat("a", 64) + "', secretRef: {name: k}}")},
		"a chart alone":                  {spec: "source: {helm: {chart: web, repo: 'https://charts.local'}}"},
		"neither repository nor chart":   {spec: "source: {path: web}", want: "repo is required, unless helm names a chart"},
		"a chart of no repository":       {spec: source("helm: {chart: web}"), want: "chart and repo go together"},
		"a repository without a chart":   {spec: source("helm: {repo: 'https://charts.local'}"), want: "chart and repo go together"},
		"a version without a chart":      {spec: source("helm: {version: 1.0.0}"), want: "version, digest and secretRef are for a chart of repo"},
		"a chart of a file":              {spec: source("helm: {chart: web, repo: 'file:///etc'}"), want: "must be an https, http or oci URL"},
		"a chart that leaves":            {spec: source("helm: {chart: ../web, repo: 'https://charts.local'}"), want: "should match"},
		"further sources":                {spec: spec("sources: [{name: values, repo: 'https://github.com/acme/values', ref: main, secretRef: {name: k}, submodules: true, verify: {secretRef: {name: k}}}]")},
		"two sources of a name":          {spec: spec("sources: [{name: a, repo: 'https://h/a'}, {name: a, repo: 'https://h/b'}]"), want: "duplicate entries"},
		"a source with ref and semver":   {spec: spec("sources: [{name: a, repo: 'https://h/a', ref: main, semver: '>=1'}]"), want: "ref and semver exclude each other"},
		"a source whose name is a path":  {spec: spec("sources: [{name: ../a, repo: 'https://h/a'}]"), want: "should match"},
		"dependencies":                   {spec: spec("dependsOn: [{name: a, namespace: b}]")},
		"health rules":                   {spec: spec("health: [{apiVersion: a/v1, kind: B, current: 'true', inProgress: 'false', failed: 'false'}]")},
		"ignored fields":                 {spec: spec("ignore: [{group: g, kind: B, name: 'a*', namespace: c, paths: [/spec/a~1b], expressions: [\"'/spec'\"]}]")},
		"an ignore rule without fields":  {spec: spec("ignore: [{kind: B}]"), want: "paths or expressions are required"},
		"a path that is no JSON pointer": {spec: spec("ignore: [{kind: B, paths: [spec.replicas]}]"), want: "should match"},
		"windows":                        {spec: spec("sync: {windows: [{kind: deny, schedule: '0 22 * * *', duration: 8h, timeZone: Asia/Seoul}]}")},
		"a window by names":              {spec: spec("sync: {windows: [{kind: allow, schedule: '*/15 0-7,20 ? jan-mar MON-FRI', duration: 1h, timeZone: America/Argentina/Buenos_Aires}]}")},
		"a window of four fields":        {spec: spec("sync: {windows: [{kind: deny, schedule: '*/15 22 * *', duration: 8h}]}"), want: "cron expression of five fields"},
		"a window with its own zone":     {spec: spec("sync: {windows: [{kind: deny, schedule: 'TZ=UTC 0 22 * * *', duration: 8h}]}"), want: "cron expression of five fields"},
		"a window by a word":             {spec: spec("sync: {windows: [{kind: deny, schedule: '@midnight', duration: 8h}]}"), want: "cron expression of five fields"},
		"a zone that is a path":          {spec: spec("sync: {windows: [{kind: deny, schedule: '0 22 * * *', duration: 8h, timeZone: ../etc/passwd}]}"), want: "IANA name"},
		"the zone of a machine":          {spec: spec("sync: {windows: [{kind: deny, schedule: '0 22 * * *', duration: 8h, timeZone: Local}]}"), want: "IANA name"},
		"required checks":                {spec: spec("sync: {checks: {required: [ci/build], provider: github, secretRef: {name: k}}}")},
		"no required check":              {spec: spec("sync: {checks: {required: []}}"), want: "should have at least 1"},
		"a propagation":                  {spec: spec("sync: {prunePropagation: foreground}")},
		"a propagation that is none":     {spec: spec("sync: {prunePropagation: now}"), want: "supported values"},
		"a suspension":                   {spec: spec("suspend: true\nsuspension: {by: kim, reason: load test, until: '2026-01-02T03:04:05Z'}")},

		"images":           {spec: spec("images: [{name: a, policy: {newest: true}}]"), want: "spec.images does not work yet; remove it"},
		"onFailure revert": {spec: spec("sync: {onFailure: revert}"), want: "spec.sync.onFailure: revert does not work yet; remove it"},
	}
	number := 0
	for sentence, tc := range cases {
		number++
		name := fmt.Sprintf("case-%d", number)
		t.Run(sentence, func(t *testing.T) {
			_, err := apply(t, c, namespace, name, tc.spec)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && err == nil:
				t.Errorf("accepted, want an error with %q", tc.want)
			case tc.want != "" && !strings.Contains(err.Error(), tc.want):
				t.Errorf("got error\n  %v\nwant it to have\n  %s", err, tc.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	c, namespace := install(t)
	got, err := apply(t, c, namespace, "plain", "source: {repo: 'https://github.com/acme/config'}")
	if err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.ApplicationSpec{
		Source: v1alpha1.Source{Repo: "https://github.com/acme/config", Path: "."},
		Sync: v1alpha1.SyncPolicy{
			Mode:             v1alpha1.ModeAuto,
			Prune:            new(true),
			PruneLimit:       "50%",
			PrunePropagation: v1alpha1.PropagationBackground,
			Drift:            v1alpha1.DriftHeal,
			Timeout:          &metav1.Duration{Duration: 5 * time.Minute},
			Retry: &v1alpha1.RetryPolicy{
				Limit: new(int32(5)),
				Base:  &metav1.Duration{Duration: 5 * time.Second},
				Max:   &metav1.Duration{Duration: 3 * time.Minute},
			},
			OnFailure: v1alpha1.OnFailureKeep,
		},
		DeletionPolicy: v1alpha1.DeletionDelete,
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Errorf("spec as the API server filled it (-want +got):\n%s", diff)
	}
}

// TestStatus writes every field of the status and reads it back: a field that
// the schema lacks would be gone.
func TestStatus(t *testing.T) {
	c, namespace := install(t)
	a, err := apply(t, c, namespace, "told", "source: {repo: 'https://github.com/acme/config'}")
	if err != nil {
		t.Fatal(err)
	}
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)).Rfc3339Copy()
	fetched := metav1.NewMicroTime(at.Time)
	a.Status = v1alpha1.ApplicationStatus{
		ObservedGeneration: 1,
		Conditions:         []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Succeeded", Message: "m", LastTransitionTime: at, ObservedGeneration: 1}},
		Revision:           "0123456789abcdef0123456789abcdef01234567",
		Inputs: &v1alpha1.Inputs{Digest: "d", Outside: []string{"base"},
			Sources: []v1alpha1.SourceRevision{{Name: "values", Revision: "r"}}, Objects: []string{"ConfigMap/x@1"}},
		LastAttempt: &v1alpha1.LastAttempt{Number: 2, Revision: "r", Reason: "push", Result: v1alpha1.ResultWaiting, Message: "m",
			StartedAt: metav1.NewMicroTime(at.Time), FetchedAt: &fetched, Duration: &metav1.Duration{Duration: 1500 * time.Microsecond}, Trace: "t",
			Deadline: &at, RetryAt: &at, Failures: 1, Inputs: &v1alpha1.Inputs{Digest: "e", Outside: []string{"x"},
				Sources: []v1alpha1.SourceRevision{{Name: "values", Revision: "r"}}, Objects: []string{"ConfigMap/x@1"}},
			Run: 1, Objects: []v1alpha1.ObjectResult{{ID: "/ConfigMap/a/b", Result: "failed", Message: "m"}}, Omitted: 1},
		Resources: &v1alpha1.Resources{Total: 4, Healthy: 1, Progressing: 2, Degraded: 1},
		Inventory: &v1alpha1.Inventory{Entries: []v1alpha1.InventoryEntry{{ID: "/ConfigMap/a/b", Version: "v1", UID: "u", Digest: "d", Fields: "f", Hook: "pre-sync"}}},
		History:   []v1alpha1.HistoryEntry{{Revision: "r", Digest: "d", At: at, Duration: &metav1.Duration{Duration: time.Second}, Reason: "push", Trace: "t"}},
		Requested: "id", Confirmed: "digest",
		Waiting: &v1alpha1.Waiting{Revision: "r", Reason: "WindowClosed", Message: "m", Since: at, Until: &at},
	}
	if unset := unset("status", reflect.ValueOf(a.Status)); unset != "" {
		t.Fatalf("the test leaves %s out", unset)
	}
	got := &v1alpha1.Application{}
	if err := c.UpdateStatus(t.Context(), object.ID{Group: v1alpha1.Group, Kind: "Application", Namespace: namespace, Name: "told"}, v1alpha1.Version, a, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.Status, got.Status); diff != "" {
		t.Errorf("status read back (-written +read):\n%s", diff)
	}
}

// unset finds a field of the API that a value leaves out.
func unset(at string, v reflect.Value) string {
	switch {
	case v.IsZero():
		return at
	case v.Kind() == reflect.Pointer:
		return unset(at, v.Elem())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		return unset(at, v.Index(0))
	case v.Kind() == reflect.Struct && strings.Contains(v.Type().PkgPath(), "v1alpha1"):
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") == "-" {
				continue
			}
			if missing := unset(at+"."+v.Type().Field(i).Name, v.Field(i)); missing != "" {
				return missing
			}
		}
	}
	return ""
}

// TestColumns asks for what kubectl get papp prints.
func TestColumns(t *testing.T) {
	_, namespace := install(t)
	clientset := kubetest.Start(t).Clientset(t)
	answer, err := clientset.RESTClient().Get().AbsPath("/apis/plumb.dev/v1alpha1/namespaces/"+namespace+"/applications").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(answer, &table); err != nil {
		t.Fatal(err)
	}
	var narrow []string
	for _, column := range table.ColumnDefinitions {
		if column.Priority == 0 {
			narrow = append(narrow, column.Name)
		}
	}
	if diff := cmp.Diff([]string{"Name", "Synced", "Healthy", "Revision", "Age", "Message"}, narrow); diff != "" {
		t.Errorf("columns of kubectl get papp (-want +got):\n%s", diff)
	}
}
