package pipeline

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is a kind of object that random trees are made of.
type kind struct {
	prefix   string // of names
	gvk      schema.GroupVersionKind
	resource string
	shared   bool   // is in no namespace
	quiet    bool   // no controller writes to it
	body     string // with $name and $value
}

func (k kind) gvr() schema.GroupVersionResource { return k.gvk.GroupVersion().WithResource(k.resource) }

func kindOf(prefix, group, version, name, resource, body string) kind {
	return kind{prefix: prefix, gvk: schema.GroupVersionKind{Group: group, Version: version, Kind: name}, resource: resource, body: body}
}

func (k kind) still() kind { k.quiet = true; return k }

func (k kind) everywhere() kind { k.shared = true; return k }

const pod = `{metadata: {labels: {app: $name}}, spec: {containers: [{name: c, image: "example.com/c:$value", env: [{name: V, value: "$value"}]}]}}`

// kinds come about as often as they stand here. Hooks, which come last, are made by
// name only.
var kinds = []kind{
	kindOf("cm", "", "v1", "ConfigMap", "configmaps", "data: {value: \"$value\", odd$value: x}\n").still(),
	kindOf("cm", "", "v1", "ConfigMap", "configmaps", "data: {value: \"$value\", odd$value: x}\n").still(),
	kindOf("cm", "", "v1", "ConfigMap", "configmaps", "data: {value: \"$value\", odd$value: x}\n").still(),
	kindOf("cm", "", "v1", "ConfigMap", "configmaps", "data: {value: \"$value\", odd$value: x}\n").still(),
	kindOf("secret", "", "v1", "Secret", "secrets", "stringData: {token: \"s$value\"}\n").still(),
	kindOf("secret", "", "v1", "Secret", "secrets", "stringData: {token: \"s$value\"}\n").still(),
	kindOf("svc", "", "v1", "Service", "services", "spec: {selector: {app: $name}, ports: [{name: a, port: 80}, {name: b, port: 1$value}]}\n").still(),
	kindOf("svc", "", "v1", "Service", "services", "spec: {selector: {app: $name}, ports: [{name: a, port: 80}, {name: b, port: 1$value}]}\n").still(),
	kindOf("sa", "", "v1", "ServiceAccount", "serviceaccounts", "imagePullSecrets: [{name: pull$value}]\n").still(),
	kindOf("role", "rbac.authorization.k8s.io", "v1", "Role", "roles", "rules: [{apiGroups: [\"\"], resources: [pods], resourceNames: [p$value], verbs: [get]}]\n").still(),
	kindOf("binding", "rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}\nsubjects: [{kind: ServiceAccount, name: s$value, namespace: nowhere}]\n").still(),
	kindOf("crole", "rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", "rules: [{apiGroups: [\"\"], resources: [pods], resourceNames: [p$value], verbs: [get]}]\n").still().everywhere(),
	kindOf("policy", "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "spec: {podSelector: {matchLabels: {v: \"$value\"}}, policyTypes: [Ingress]}\n").still(),
	kindOf("pvc", "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n"),
	kindOf("deploy", "apps", "v1", "Deployment", "deployments", "spec:\n  replicas: 0\n  selector: {matchLabels: {app: $name}}\n  template: "+pod+"\n"),
	kindOf("deploy", "apps", "v1", "Deployment", "deployments", "spec:\n  replicas: 0\n  selector: {matchLabels: {app: $name}}\n  template: "+pod+"\n"),
	kindOf("set", "apps", "v1", "StatefulSet", "statefulsets", "spec:\n  replicas: 0\n  serviceName: s\n  selector: {matchLabels: {app: $name}}\n  template: "+pod+"\n"),
	kindOf("cron", "batch", "v1", "CronJob", "cronjobs", "spec:\n  suspend: true\n  schedule: \"0 1 * * *\"\n  startingDeadlineSeconds: 1$value\n  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: c}]}}}}\n"),
	kindOf("hook", "batch", "v1", "Job", "jobs", "spec:\n  backoffLimit: 0\n  template: {spec: {restartPolicy: Never, containers: [{name: c, image: \"run:$value\"}]}}\n"),
}

var hookKind = kinds[len(kinds)-1]

// policies are annotations, by the kinds that they are tried on; empty: all.
var policies = []struct{ text, on string }{
	{`plumb.dev/wave: "-1"`, ""}, {`plumb.dev/wave: "2"`, ""}, {`plumb.dev/wave: "2"`, ""},
	{onceText, "ConfigMap Secret"}, {keepText, "ConfigMap Secret"}, {askText, "ConfigMap Secret"}, {replaceText, "Deployment"}, {replaceText, "Deployment"},
	{`plumb.dev/apply: merge`, ""}, {ignoreText, "ConfigMap"},
}

const (
	onceText    = `plumb.dev/apply: if-absent`
	ignoreText  = `plumb.dev/apply: ignore`
	keepText    = `plumb.dev/prune: disabled`
	askText     = `plumb.dev/prune: confirm`
	replaceText = `plumb.dev/replace: allowed`
)

// item is one object of a tree. In a file of an Application; and a namespace.
type item struct {
	kind
	app, file, ns, name string
	value               int
	policy              string
}

func (i *item) id() string {
	ns := i.ns
	if i.shared {
		ns = ""
	}
	return i.gvk.Group + "/" + i.gvk.Kind + "/" + ns + "/" + i.name
}

func (i *item) hook() bool { return strings.Contains(i.policy, "plumb.dev/hook") }

// mobile items may change their Application. What is made once is not taken over.
func (i *item) mobile() bool { return !i.hook() && i.policy != onceText && i.policy != ignoreText }

// manifest leaves the namespace to the Application where it is the same, now and then.
func (i *item) manifest(home string) string {
	ns := "\n  namespace: " + i.ns
	if i.shared || i.ns == home && i.value%2 == 0 {
		ns = ""
	}
	body := i.body
	if i.policy == replaceText {
		body = strings.ReplaceAll(body, "{app: $name}", `{app: $name, v: "$value"}`)
	}
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata:\n  name: %s%s\n  labels: {tier: \"%d\"}\n  annotations: {%s}\n", i.gvk.GroupVersion(), i.gvk.Kind, i.name, ns, i.value, i.policy) +
		strings.NewReplacer("$name", i.name, "$value", fmt.Sprint(i.value)).Replace(body)
}

// forest is a random tree of several Applications, in one repository.
type forest struct {
	r     *rand.Rand
	homes map[string]string // destination of each Application
	apps  []string
	names []string // namespaces of objects
	items []*item
	gone  []*item // may come back
	made  int
}

// files are the whole content of the repository.
func (f *forest) files() map[string]string {
	files := map[string]string{}
	for _, app := range f.apps {
		files[app+"/README.md"] = "# " + app + "\n"
	}
	for _, i := range f.items {
		name := i.app + "/" + i.file
		if files[name] != "" {
			files[name] += "---\n"
		}
		files[name] += i.manifest(f.homes[i.app])
	}
	return files
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func (f *forest) file() string {
	return pick(f.r, []string{"a.yaml", "b.yaml", "c.yaml", "d.yml", "sub/e.yaml", "sub/f.yaml", "sub/deep/g.yaml", fmt.Sprintf("own%d.yaml", f.made)})
}

func (f *forest) name(k kind) string {
	f.made++
	if k.shared {
		return fmt.Sprintf("%s-%s-%03d", k.prefix, f.names[0], f.made)
	}
	return fmt.Sprintf("%s-%03d", k.prefix, f.made)
}

func (f *forest) add(app string) *item {
	k := kinds[f.r.IntN(len(kinds)-1)]
	i := &item{kind: k, app: app, ns: pick(f.r, f.names), name: f.name(k), value: 10 + f.r.IntN(90)}
	if p := pick(f.r, policies); f.r.IntN(3) == 0 && (p.on == "" || strings.Contains(p.on, k.gvk.Kind)) {
		i.policy = p.text
	}
	i.file = f.file()
	f.items = append(f.items, i)
	return i
}

// hook adds what is made anew with each change of the Application.
func (f *forest) hook(app string, k kind, policy string) {
	f.items = append(f.items, &item{kind: k, app: app, ns: f.names[0], name: f.name(k), value: 10, policy: policy, file: f.file()})
}

// remove takes an item away; it may come back later.
func (f *forest) remove(i *item) {
	f.items = slices.DeleteFunc(f.items, func(o *item) bool { return o == i })
	f.gone = append(f.gone, i)
}

// rename gives an item a new name; the old one may come back.
func (f *forest) rename(i *item) {
	old := *i
	f.gone = append(f.gone, &old)
	i.name = f.name(i.kind)
}

// back brings back what went: to the Application that it was of, or to another.
func (f *forest) back() (*item, bool) {
	if len(f.gone) == 0 {
		return nil, false
	}
	n := f.r.IntN(len(f.gone))
	i := f.gone[n]
	f.gone = slices.Delete(f.gone, n, n+1)
	if i.mobile() {
		i.app = pick(f.r, f.apps)
	}
	f.items = append(f.items, i)
	return i, true
}

func (i *item) change(r *rand.Rand) {
	i.value = 10 + (i.value-10+1+r.IntN(89))%90
}

// others are all Applications but one.
func (f *forest) others(app string) []string {
	return slices.DeleteFunc(slices.Clone(f.apps), func(a string) bool { return a == app })
}

// limits say what may be edited.
type limits struct {
	stays   bool   // nothing goes, not even to another Application
	changes string // Application of which objects are only changed
}

// edit makes one random edit, and tells it. The tree keeps about its size.
func (f *forest) edit(l limits) string {
	i := pick(f.r, f.items)
	choice := f.r.IntN(100)
	switch {
	case i.app == l.changes || i.hook() && f.r.IntN(2) == 0:
		choice = 99
	case l.stays && choice < 65:
		choice = 70 + choice%30
	}
	size := 60 + f.r.IntN(8) - 4
	switch {
	case choice < 20 && len(f.items) >= size:
		f.remove(i)
		return "remove " + i.id()
	case choice < 40 && i.mobile():
		from := i.app
		i.app, i.file = pick(f.r, f.others(i.app)), f.file()
		return fmt.Sprintf("move %s from %s to %s", i.id(), from, i.app)
	case choice < 55:
		old := i.id()
		f.rename(i)
		return "rename " + old + " to " + i.name
	case choice < 65:
		if back, is := f.back(); is {
			return "bring back " + back.id() + " in " + back.app
		}
	case choice < 72:
		i.file = f.file()
		return "put " + i.id() + " into " + i.file
	case choice < 80 || len(f.items) < size:
		n := f.add(pick(f.r, f.others(l.changes)))
		return "add " + n.id() + " to " + n.app + " " + n.policy
	}
	i.change(f.r)
	return "change " + i.id()
}

// cut removes most of an Application at once.
func (f *forest) cut(app string) string {
	of := slices.DeleteFunc(slices.Clone(f.items), func(i *item) bool { return i.app != app || !i.mobile() || i.policy == keepText })
	slices.SortStableFunc(of, func(a, b *item) int { return cmp.Compare(a.value, b.value) })
	for _, i := range of[:len(of)*5/6] {
		f.remove(i)
	}
	return fmt.Sprintf("cut %s by %d", app, len(of)*5/6)
}

// regrow adds what is missing of 60 objects.
func (f *forest) regrow() string {
	n := 0
	for ; len(f.items) < 60; n++ {
		if _, is := f.back(); !is || f.r.IntN(2) == 0 {
			f.add(pick(f.r, f.apps))
		}
	}
	return fmt.Sprintf("regrow by %d", n)
}
