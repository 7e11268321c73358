package reconcile

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/health"
	"github.com/plumb-gitops/plumb/pkg/object"
)

const (
	// explainLimit is how long the end of an attempt may be held up to look at Pods.
	explainLimit = 5 * time.Second
	// maxExplained is how many objects of the worst health are looked at.
	maxExplained = 3
	// maxSecrets is how many Secrets of a Pod are read to keep them out of a message.
	maxSecrets = 16
	// maxLine is how much of a line people are shown, in bytes.
	maxLine = 300
)

// rules are those of spec.health; ones that do not compile are refused by name.
func (r *Reconciler) rules(a *v1alpha1.Application) (health.Rules, error) {
	rules, err := r.compiled.Compile(a.Spec.Health)
	if err != nil {
		return rules, fault.Refuse(fault.ApplyFailed, catalog.PlaceOf(a, ""), "%w", err)
	}
	return rules, nil
}

// judgeOf judges by the rules of the Application, and without those that do not
// compile: the plan of a sync is what refuses them, and a deletion goes on.
func (r *Reconciler) judgeOf(a *v1alpha1.Application) func(*unstructured.Unstructured) health.Report {
	rules, err := r.rules(a)
	if err != nil {
		return health.Of
	}
	return rules.Of
}

// explain sums up what was judged in vain. Where Pods of one of the worst objects
// say why, that one is named with their words. What cannot be read is left out.
func (r *Reconciler) explain(ctx context.Context, client *cluster.Client, reports map[object.ID]health.Report, versions map[object.ID]string) health.Summary {
	s := health.Worst(reports)
	if s.Status != health.Degraded && s.Status != health.Progressing {
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, explainLimit)
	defer cancel()
	looked := 0
	for _, id := range slices.SortedFunc(maps.Keys(reports), byName) {
		if reports[id].Status != s.Status || !cluster.HasPods(id.GroupKind()) {
			continue
		}
		if looked++; looked > maxExplained {
			break
		}
		live, err := client.Get(ctx, id, versions[id])
		if err == nil && live != nil {
			if why := r.podsOf(ctx, client, live); why != "" {
				s.Object, s.Message = id, reports[id].Message+"; "+why
				return s
			}
		}
	}
	return s
}

func byName(a, b object.ID) int { return strings.Compare(a.String(), b.String()) }

// podsOf is what the Pods of a live object say of themselves; empty when they say
// nothing, or cannot be read as the Application's account.
func (r *Reconciler) podsOf(ctx context.Context, client *cluster.Client, live *unstructured.Unstructured) string {
	pods, err := client.Pods(ctx, live)
	if err != nil {
		r.log.DebugContext(ctx, "pods not read", "object", object.IDOf(live).Human(), "error", err)
		return ""
	}
	pod, failure, found := health.WorstPod(pods)
	if !found {
		return ""
	}
	why := failure.String()
	if live.GetKind() != "Pod" {
		why = "Pod " + pod.GetName() + ": " + why
	}
	line, err := lastWords(ctx, client, pod, failure)
	if err != nil {
		r.log.DebugContext(ctx, "last line of a log not read", "pod", pod.GetNamespace()+"/"+pod.GetName(), "error", err)
	}
	if line != "" {
		why += fmt.Sprintf(", last line: %q", line)
	}
	return why
}

// lastWords are the last line of the log, else what the container left as its
// message. They are shown only when every Secret that the Pod uses could be read to
// take its values out.
func lastWords(ctx context.Context, client *cluster.Client, pod *unstructured.Unstructured, f health.Failure) (string, error) {
	if !f.Logs && f.Message == "" {
		return "", nil
	}
	secrets, err := secretsOf(ctx, client, pod)
	if err != nil {
		return "", err
	}
	whole := false // of a message it is not told whether it was cut
	lines := strings.Split(strings.TrimSpace(f.Message), "\n")
	line := lines[len(lines)-1]
	if f.Logs {
		logged, all, unread := client.LastLine(ctx, object.IDOf(pod), f.Container, f.Previous)
		if err = unread; err == nil && logged != "" {
			line, whole = logged, all
		}
	}
	return shown(line, whole, secrets), err
}

// shown cuts the line; where it was cut before, a secret may have been cut with it.
func shown(line string, whole bool, secrets []string) string {
	if !whole && len(line) > maxLine {
		line = line[:strings.LastIndexAny(line, " \t")+1]
	}
	line = object.RedactText(line, secrets)
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine-3], "") + "..."
	}
	return line
}

// telling are the names of variables whose values are taken for secret.
var telling = regexp.MustCompile(`(?i)pass|secret|token|key|credential|auth|dsn|url`)

// secretsOf are the values of all Secrets that a Pod may read, and of variables that
// are named like one.
func secretsOf(ctx context.Context, client *cluster.Client, pod *unstructured.Unstructured) ([]string, error) {
	names, values := referred(pod.Object["spec"])
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxSecrets {
		return nil, fmt.Errorf("it uses %d Secrets, more than %d are not kept out of a message", len(names), maxSecrets)
	}
	for _, name := range names {
		secret, err := client.Get(ctx, object.ID{Kind: "Secret", Namespace: pod.GetNamespace(), Name: name}, "v1")
		if err != nil {
			return nil, fmt.Errorf("keep its secrets out: %w", err)
		}
		if secret == nil {
			continue // it is absent, and so are its values
		}
		data, _, _ := unstructured.NestedStringMap(secret.Object, "data")
		for _, encoded := range data {
			if value, err := base64.StdEncoding.DecodeString(encoded); err == nil {
				values = append(values, string(value))
			}
		}
	}
	return values, nil
}

// referred walks a Pod's spec: the names of Secrets in it, wherever they stand, and
// the values of variables that may be secret.
func referred(value any) (names, values []string) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			moreNames, moreValues := referred(item)
			names, values = append(names, moreNames...), append(values, moreValues...)
		}
	case map[string]any:
		if name, is := v["secretName"].(string); is {
			names = append(names, name)
		}
		name, _ := v["name"].(string)
		if text, is := v["value"].(string); is && telling.MatchString(name) {
			values = append(values, text)
		}
		for key, item := range v {
			if named, is := item.(map[string]any); is && strings.HasPrefix(key, "secret") {
				if name, is := named["name"].(string); is {
					names = append(names, name)
				}
			}
			moreNames, moreValues := referred(item)
			names, values = append(names, moreNames...), append(values, moreValues...)
		}
	}
	return names, values
}
