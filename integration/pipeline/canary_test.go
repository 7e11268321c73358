package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/service/alerter"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// TestNoSecretIsTold puts secrets wherever Plumb reads them, has everything fail that
// can fail with one at hand, and searches all that Plumb told anybody.
func TestNoSecretIsTold(t *testing.T) {
	c := &canaries{Stack: stack.Guarded(t), surfaces: &surfaces{}, birds: &birds{all: map[string]string{"password of Git": stack.GitPassword}}}
	c.ns = c.Kube.Namespace(t)
	c.overhear(t, c.NATS.URL())
	c.surfaces.statuses(t, c.Stack, c.ns)
	c.alert(t)
	worker := c.Start(t, stack.Options{Env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.serve(t, "a span")}})
	c.Scan(t, time.Hour)
	c.hide(t)
	c.await(t)
	c.drift(t)
	c.change(t)
	c.ask(t)
	c.metrics(t, c.Stack)
	c.control(t)
	worker.Stop() // and so the last spans go
	c.streams(t, c.NATS.URL())
	c.surfaces.add("a log", string(c.WholeLog(t)))
	var needles []needle
	for name, value := range c.birds.all {
		needles = append(needles, needleOf(name, value))
	}
	for _, found := range c.find(needles) {
		t.Error(found)
	}
}

type canaries struct {
	*stack.Stack
	*surfaces
	birds  *birds
	ns     string
	repo   *gitserver.Repo
	places map[string]hiding
}

// alert runs an alerter whose channels' URLs are secrets.
func (c *canaries) alert(t *testing.T) {
	t.Helper()
	channels := []config.Channel{{Name: "slack", Type: "slack"}, {Name: "hook", Type: "webhook"}}
	for i, channel := range channels {
		file := filepath.Join(t.TempDir(), channel.Name)
		text := c.serve(t, "an alert of "+channel.Name) + "/" + c.birds.new("URL of "+channel.Name)
		if channel.Type == "webhook" {
			text += "\n" + c.birds.new("key of a webhook")
		}
		must(t, os.WriteFile(file, []byte(text+"\n"), 0o600))
		channels[i].URLFile = file
	}
	settings := config.Alerter{Channels: channels, Routes: []config.Route{{To: []string{"slack", "hook"}}}}
	a, err := alerter.New(settings, c.Bus, alerter.Options{
		Cluster: c.Cluster, Patience: time.Millisecond, Settle: 100 * time.Millisecond, Sweep: time.Second,
		Log: slog.New(slog.NewJSONHandler(logged{c.surfaces}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
}

// logged takes the log of the alerter.
type logged struct{ to *surfaces }

func (l logged) Write(p []byte) (int, error) {
	l.to.add("a log of the alerter", string(p))
	return len(p), nil
}

// quoting refuses what is named "quoted-…", and says in its message what that holds.
const quoting = `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: quoting-%[1]s}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps, secrets]}]
  validations:
  - expression: "!object.metadata.name.startsWith('quoted-')"
    messageExpression: "'it holds ' + object.data.map(k, string(object.data[k])).join(', ')"
`

// hide makes the sources, their Secrets and the Applications.
func (c *canaries) hide(t *testing.T) {
	t.Helper()
	apply(t, c.Stack, c.ns, fmt.Sprintf(quoting, c.ns))
	apply(t, c.Stack, c.ns, fmt.Sprintf(`apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: quoting-%[1]s}
spec: {policyName: quoting-%[1]s, validationActions: [Deny]}
`, c.ns))
	c.refuses(t)
	repo := c.Repo(t, "acme/secrets", map[string]string{"readme": "x\n"})
	c.repo, c.places = repo, map[string]hiding{}
	for _, family := range []map[string]hiding{inManifests(c.birds), inRenders(t, c.birds), inVariables(c.birds), inCredentials(t, c.birds, repo)} {
		maps.Copy(c.places, family)
	}
	files := map[string]string{}
	for name, h := range c.places {
		for file, text := range h.files {
			files[name+"/"+file] = text
		}
	}
	c.PushSilently(t, repo, files)
	variables{}.create(t, c.Stack, c.ns, "Secret", "git", map[string]any{"username": stack.GitUser, "password": stack.GitPassword})
	for _, h := range c.places {
		for secret, data := range h.secrets {
			variables{}.create(t, c.Stack, c.ns, "Secret", secret, data)
		}
	}
	for name, h := range c.places {
		c.application(t, name, h)
	}
}

func (c *canaries) application(t *testing.T, name string, h hiding) {
	t.Helper()
	a := stack.Application(c.ns, name, c.repo, name)
	a.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "git"}
	a.Spec.Sync.Retry = &v1alpha1.RetryPolicy{Limit: new(int32)}
	if h.manual {
		a.Spec.Sync.Mode = v1alpha1.ModeManual
	}
	if h.spec != nil {
		h.spec(a)
	}
	c.Create(t, a)
	t.Cleanup(func() { c.Forget(a.Key()) })
}

// refuses waits until the policy is in force.
func (c *canaries) refuses(t *testing.T) {
	t.Helper()
	c.Eventually(t, "the policy is in force", func() error {
		probe := parse(t, stack.ConfigMap("quoted-probe", "x"))
		_, err := c.Objects.Resource(stack.ConfigMaps).Namespace(c.ns).Create(t.Context(), probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil || !strings.Contains(err.Error(), "it holds x") {
			return fmt.Errorf("the probe ends in %v", err)
		}
		return nil
	})
}

// await waits until every Application has come to its end, as it should.
func (c *canaries) await(t *testing.T) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(c.places)) {
		h := c.places[name]
		if h.manual {
			continue
		}
		want := metav1.ConditionTrue
		if h.fails {
			want = metav1.ConditionFalse
		}
		key := stack.Application(c.ns, name, c.repo, name).Key()
		c.Await(t, key, "at its end", func(a *v1alpha1.Application) error {
			ready := stack.Condition(a, v1alpha1.ConditionReady)
			if ready.Status == "" || ready.Status == metav1.ConditionUnknown {
				return fmt.Errorf("ready is %s", ready.Status)
			}
			return nil
		})
		if ready := stack.Condition(c.Get(t, key), v1alpha1.ConditionReady); ready.Status != want {
			t.Errorf("%s: ready is %s (%s: %s), want %s", name, ready.Status, ready.Reason, ready.Message, want)
		} else {
			t.Logf("%s: %s: %s", name, ready.Reason, ready.Message)
		}
	}
}

// drift changes by hand what secrets went into, and waits until that is healed and told.
func (c *canaries) drift(t *testing.T) {
	t.Helper()
	c.PatchObject(t, stack.Secrets, c.ns, "drifts", fmt.Sprintf(`{"data":{"k":%q}}`, encoded(c.birds.new("by hand in a Secret"))))
	for _, name := range []string{"var-drifts", "sops-drifts"} {
		c.PatchObject(t, stack.ConfigMaps, c.ns, name, `{"data":{"value":"changed by hand"}}`)
	}
	for _, name := range []string{"drifts", "var-drifts", "sops-values"} {
		key := stack.Application(c.ns, name, c.repo, name).Key()
		c.Eventually(t, "the healing of "+name+" is told", func() error {
			if len(c.Facts(t, key, event.DriftHealed)) == 0 {
				return fmt.Errorf("it is not")
			}
			return nil
		})
	}
}

// change pushes other values of what is applied already.
func (c *canaries) change(t *testing.T) {
	t.Helper()
	c.Push(t, c.repo, map[string]string{
		"immutable/a.yaml": secretOf("immutable", "immutable: true\nstringData: {k: "+c.birds.new("immutable, then")+"}\n")["a.yaml"],
	})
	c.Failed(t, stack.Application(c.ns, "immutable", c.repo, "").Key(), "ApplyFailed")
	// Nobody announces these: only who asks sees them.
	c.PushSilently(t, c.repo, map[string]string{
		"drifts/a.yaml":     secretOf("drifts", "stringData: {k: "+c.birds.new("of the next revision")+"}\n")["a.yaml"],
		"var-drifts/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: var-drifts}\ndata: {value: 'other:${password}', more: '${plain}'}\n",
	})
}

// ask asks for the differences of every Application.
func (c *canaries) ask(t *testing.T) {
	t.Helper()
	for name := range c.places {
		answer := &eventsv1.AnswerDiff{}
		err := c.Bus.AskEach(t.Context(), c.Cluster, "diff", &eventsv1.AskDiff{Namespace: c.ns, Name: name}, answer, func() error {
			text, err := protojson.Marshal(answer)
			c.add("a difference", name+" "+string(text))
			return err
		})
		if err != nil {
			c.add("a difference", err.Error())
		}
	}
}

// control waits until what is no secret was told everywhere.
func (c *canaries) control(t *testing.T) {
	t.Helper()
	c.surfaces.add("a log", string(c.WholeLog(t)))
	c.Eventually(t, "what is no secret is told everywhere", func() error {
		for _, where := range []string{"a status", "an Event", "a message of NATS", "a span", "a log", "a difference", "an alert of slack", "an alert of hook"} {
			if !strings.Contains(c.text(where), control) {
				return fmt.Errorf("%s does not show it", where)
			}
		}
		return nil
	})
	if !strings.Contains(c.text("the metrics"), "plumb_attempts_total") {
		t.Error("the metrics are none")
	}
	planted := needleOf("planted", control)
	if found := c.find([]needle{planted}); len(found) < 8 {
		t.Errorf("the search finds what is no secret only here: %s", strings.Join(found, "\n"))
	}
}
