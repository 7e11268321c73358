package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// canary is a secret value that no output may hold.
const canary = "canary-5f1e77a0"

// deployed is an Application that was synced once.
type deployed struct {
	*site
	repo      *gitserver.Repo
	namespace string
	key       string
	manifest  string
}

// deploy starts Plumb and syncs files as an Application with the given rest of its spec.
func deploy(t *testing.T, files map[string]string, rest string) *deployed {
	t.Helper()
	d := &deployed{site: up(t), repo: repository(t)}
	d.namespace = d.kube.Namespace(t)
	d.key = d.namespace + "/web"
	d.push(t, files)
	d.manifest = fmt.Sprintf(`
apiVersion: plumb.dev/v1alpha1
kind: Application
metadata: {name: web, namespace: %s}
spec:
  source:
    repo: %q
    ref: main
    path: web
%s`, d.namespace, d.repo.URL(), rest)
	return d
}

func (d *deployed) push(t *testing.T, files map[string]string) string {
	t.Helper()
	content := map[string][]byte{}
	for name, text := range files {
		content[name] = []byte(text)
		if text == "" {
			content[name] = nil
		}
	}
	sha, err := d.repo.CommitAndPush(t.Context(), "Change files", content)
	must(t, err)
	return sha
}

// sync waits until the Application is known, and synced.
func (d *deployed) sync(t *testing.T) {
	t.Helper()
	d.eventually(t, "synced", func() error {
		if code, out := d.plumb(t, "sync", d.key); code != 0 {
			return errors.New(out)
		}
		return nil
	})
}

func named(kind, name, rest string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: %s\nmetadata: {name: %s}\n%s", kind, name, rest)
}

// What plumb diff shows is what plumb sync then does, and nothing is done before.
func TestDiffTellsWhatTheNextSyncDoes(t *testing.T) {
	d := deploy(t, map[string]string{
		"web/web.yaml":    named("ConfigMap", "web", "data: {a: \"1\", text: \"one\\ntwo\\nthree\\n\", dsn: \"db://${password}@host\"}\n"),
		"web/secret.yaml": named("Secret", "web", "stringData: {token: "+canary+"-a}\n"),
		"web/old.yaml":    named("ConfigMap", "old", "data: {}\n"),
	}, `    substitute: {from: [{kind: Secret, name: vars}]}
`)
	core := d.kube.Clientset(t).CoreV1()
	d.secret(t, map[string]string{"password": canary + "-b"})
	d.create(t, d.manifest)
	d.sync(t)

	d.expect(t, 0, "a sync would change nothing", "diff", d.key, "--exit-code")
	before, err := core.ConfigMaps(d.namespace).Get(t.Context(), "web", metav1.GetOptions{})
	must(t, err)

	d.push(t, map[string]string{
		"web/web.yaml":    named("ConfigMap", "web", "data: {a: \"2\", text: \"one\\n2\\nthree\\n\", dsn: \"other://${password}@host\"}\n"),
		"web/secret.yaml": named("Secret", "web", "stringData: {token: "+canary+"-c}\n"),
		"web/new.yaml":    named("ConfigMap", "new", "data: {b: \"${password}\"}\n"),
		"web/old.yaml":    "",
	})
	code, out := d.plumb(t, "diff", d.key, "--exit-code")
	t.Log(out)
	if code != 1 {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	for _, want := range []string{
		"update ConfigMap " + d.namespace + "/web", "@@ data.a @@\n- 1\n+ 2\n", "@@ data.text @@\n  one\n- two\n+ 2\n  three\n",
		"@@ data.dsn @@\n- (redacted)\n+ (redacted)\n", "@@ data.token @@\n- (redacted)\n+ (redacted)\n",
		"create ConfigMap " + d.namespace + "/new", "+   b: (redacted)", "delete ConfigMap " + d.namespace + "/old",
		"1 to create, 2 to update, 1 to delete",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	after, err := core.ConfigMaps(d.namespace).Get(t.Context(), "web", metav1.GetOptions{})
	must(t, err)
	if after.ResourceVersion != before.ResourceVersion {
		t.Error("a diff changed an object")
	}
	d.hidesSecrets(t)
	d.expect(t, 0, "a sync would change nothing", "diff", d.key, "--revision", d.applied(t))
	d.sync(t)
	d.expect(t, 0, "a sync would change nothing", "diff", d.key, "--exit-code")
	d.drifts(t)
	d.refuses(t)
	d.end(t)
}

// hidesSecrets looks for the canary in every form of the answer.
func (d *deployed) hidesSecrets(t *testing.T) {
	for _, output := range []string{"text", "json", "yaml"} {
		code, out := d.plumb(t, "diff", d.key, "-o", output)
		if code != 0 || strings.Contains(out, "canary") || strings.Contains(out, "Y2FuYXJ5") {
			t.Errorf("-o %s: exit code %d:\n%s", output, code, out)
		}
		if output == "json" && !json.Valid([]byte(out)) {
			t.Errorf("no JSON:\n%s", out)
		}
	}
}

func (d *deployed) secret(t *testing.T, data map[string]string) {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "vars"}, "stringData": data})
	must(t, err)
	_, err = d.kube.Clientset(t).CoreV1().Secrets(d.namespace).Patch(t.Context(), "vars", types.ApplyPatchType, raw, metav1.PatchOptions{FieldManager: "test"})
	must(t, err)
}

func (d *deployed) applied(t *testing.T) string {
	t.Helper()
	return d.status(t).Revision
}

func (d *deployed) status(t *testing.T) v1alpha1.ApplicationStatus {
	t.Helper()
	var a v1alpha1.Application
	raw, err := d.kube.Clientset(t).CoreV1().RESTClient().Get().AbsPath("/apis/plumb.dev/v1alpha1/namespaces", d.namespace, "applications/web").DoRaw(t.Context())
	must(t, err)
	must(t, json.Unmarshal(raw, &a))
	return a.Status
}

// drifts shows a change by hand, under warn, as what would be left.
func (d *deployed) drifts(t *testing.T) {
	core := d.kube.Clientset(t).CoreV1()
	d.patchSpec(t, `{"spec":{"sync":{"drift":"warn"}}}`)
	_, err := core.ConfigMaps(d.namespace).Patch(t.Context(), "web", types.MergePatchType, []byte(`{"data":{"a":"9"}}`), metav1.PatchOptions{FieldManager: "hand"})
	must(t, err)
	code, out := d.plumb(t, "diff", d.key, "--exit-code")
	if code != 0 || !strings.Contains(out, "leave as it is ConfigMap") || !strings.Contains(out, "@@ data.a @@\n- 9\n+ 2\n") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func (d *deployed) patchSpec(t *testing.T, patch string) {
	t.Helper()
	_, err := d.kube.Clientset(t).CoreV1().RESTClient().Patch(types.MergePatchType).AbsPath("/apis/plumb.dev/v1alpha1/namespaces", d.namespace, "applications/web").
		Body([]byte(patch)).DoRaw(t.Context())
	must(t, err)
}

func (d *deployed) refuses(t *testing.T) {
	d.expect(t, 2, "is known in any cluster", "diff", d.namespace+"/nope")
	d.expect(t, 2, "no full commit SHA", "diff", d.key, "--revision", "abc1234")
	d.expect(t, 2, "nothing-like-it", "diff", d.key, "--ref", "nothing-like-it")
	d.push(t, map[string]string{"web/new.yaml": "kind: ["})
	d.expect(t, 2, "web/new.yaml:", "diff", d.key)
}

// A large answer comes in several messages and is shown as one.
func TestDiffOfMuch(t *testing.T) {
	files := map[string]string{}
	for i := range 40 {
		files[fmt.Sprintf("web/%02d.yaml", i)] = named("ConfigMap", fmt.Sprintf("map-%02d", i), fmt.Sprintf("data: {text: %q}\n", strings.Repeat("word ", 6000)))
	}
	files["web/large.yaml"] = named("ConfigMap", "large", fmt.Sprintf("data: {text: %q}\n", strings.Repeat("word ", 60_000)))
	d := deploy(t, files, "  sync: {mode: manual}\n")
	d.create(t, d.manifest)
	d.eventually(t, "known", func() error {
		if code, out := d.plumb(t, "diff", d.key); code != 0 {
			return errors.New(out)
		}
		return nil
	})
	code, out := d.plumb(t, "diff", d.key, "--exit-code")
	if code != 1 || strings.Count(out, "create ConfigMap") != 41 || !strings.Contains(out, "41 to create") || !strings.Contains(out, "(300000 bytes)") {
		t.Errorf("exit code %d:\n%.3000s", code, out)
	}
	d.end(t)
}

const migration = `
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {plumb.dev/hook: pre-sync}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: x, image: x}]}}}
`

// A branch is compared without being synced; hooks are shown when they would run.
func TestDiffOfABranchShowsItsHooks(t *testing.T) {
	d := deploy(t, map[string]string{"web/web.yaml": named("ConfigMap", "web", "data: {a: \"1\"}\n"), "web/job.yaml": migration}, "")
	d.create(t, d.manifest)
	d.sync(t)
	d.expect(t, 0, "a sync would change nothing", "diff", d.key, "--exit-code")
	applied := d.applied(t)

	_, err := d.repo.Commit(t.Context(), "Try", map[string][]byte{"web/web.yaml": []byte(named("ConfigMap", "web", "data: {a: \"2\"}\n"))})
	must(t, err)
	must(t, d.repo.Push(t.Context(), "HEAD:refs/heads/try"))
	d.expect(t, 1, "run pre-sync hook Job "+d.namespace+"/migrate", "diff", d.key, "--ref", "try", "--exit-code")
	d.expect(t, 1, "1 to update, 1 to run as hooks", "diff", d.key, "--ref", "refs/heads/try", "--exit-code")
	d.expect(t, 0, "a sync would change nothing", "diff", d.key, "--exit-code")
	if now := d.applied(t); now != applied {
		t.Errorf("%s is applied now", now)
	}
	d.end(t)
}
