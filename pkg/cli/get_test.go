package cli_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func TestGetShowsATable(t *testing.T) {
	w := start(t)
	w.put(t, web("local"), &eventsv1.ApplicationState{
		Cluster: "local", Namespace: "team-b", Name: "db", Synced: "False", Healthy: "Unknown",
		Message: "apps/db/x.yaml:3: \x1b[31munknown\nkind", // as hostile as a file name may be
	})
	other := start(t)
	other.put(t, web("local"), web("prod"))
	for sentence, c := range map[string]struct {
		env  map[string]string
		args []string
		code int
		want string
	}{
		"of all namespaces": {w.env, []string{"get"}, 0, `
NAMESPACE   NAME   SYNCED   HEALTHY   REVISION   AGE   MESSAGE
team-a      web    True     True      01234567   3h    applied
team-b      db     False    Unknown   -          -     apps/db/x.yaml:3: ?[31munknown kind
`},
		"as kubectl is called": {w.env, []string{"get", "papp", "-A"}, 0, `
NAMESPACE   NAME   SYNCED   HEALTHY   REVISION   AGE   MESSAGE
team-a      web    True     True      01234567   3h    applied
team-b      db     False    Unknown   -          -     apps/db/x.yaml:3: ?[31munknown kind
`},
		"of one, wide": {w.env, []string{"get", "web", "-n", "team-a", "-o", "wide"}, 0, `
NAMESPACE   NAME   SYNCED   HEALTHY   REVISION   AGE   CLUSTER   REASON      DRIFTED   REPO                             REF    PATH       MESSAGE
team-a      web    True     True      01234567   3h    local     Succeeded   False     https://github.com/acme/config   main   apps/web   applied
`},
		"with the clusters, where there are several": {other.env, []string{"get", "team-a/web"}, 0, `
NAMESPACE   NAME   SYNCED   HEALTHY   REVISION   AGE   CLUSTER   MESSAGE
team-a      web    True     True      01234567   3h    local     applied
team-a      web    True     True      01234567   3h    prod      applied
`},
		"of one cluster": {other.env, []string{"get", "--cluster", "prod"}, 0, `
NAMESPACE   NAME   SYNCED   HEALTHY   REVISION   AGE   MESSAGE
team-a      web    True     True      01234567   3h    applied
`},
		"and says what is missing": {w.env, []string{"get", "team-a/web", "team-a/nope"}, 1, `
NAMESPACE   NAME   SYNCED   HEALTHY   REVISION   AGE   MESSAGE
team-a      web    True     True      01234567   3h    applied
plumb: Application team-a/nope is not known
`},
		"or that there is nothing": {w.env, []string{"get", "-n", "empty"}, 0, "\nNo Applications found.\n"},
		"as YAML": {w.env, []string{"get", "team-b/db", "-o", "yaml"}, 0, `
applications:
- cluster: local
  healthy: Unknown
  message: "apps/db/x.yaml:3: \e[31munknown\nkind"
  name: db
  namespace: team-b
  synced: "False"
`},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, out, errs := plumb(t, c.env, "", c.args...)
			if code != c.code {
				t.Errorf("exit code %d", code)
			}
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), out+errs); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGetSaysWhyThereIsNoAnswer(t *testing.T) {
	w := start(t)
	foreign := start(t).env["PLUMB_TOKEN_FILE"]
	for sentence, c := range map[string]struct {
		args []string
		want string
	}{
		"nobody listens": {[]string{"get", "--server", "http://127.0.0.1:1"}, "reach http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused; is Plumb running there?"},
		"a wrong token":  {[]string{"get", "--token-file", foreign}, "refuses the token of " + foreign},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, _, errs := plumb(t, w.env, "", c.args...)
			if code != 1 || !strings.Contains(errs, c.want) {
				t.Errorf("exit code %d, %q is not in %q", code, c.want, errs)
			}
		})
	}
}
