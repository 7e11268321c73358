package receiver

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/webhook"
)

// hook is one configured webhook. One without a name is a decoy: it costs what
// a real one costs and nothing is authentic to it.
type hook struct {
	name     string
	provider webhook.Provider
	secrets  *secretFile
	repos    []string // canonical patterns; empty: all
}

// hooks are the configured ones.
type hooks struct {
	known  map[string]hook
	all    []hook
	filler []byte // a secret that nobody knows
}

func newHooks(configured []config.Hook, o Options) (hooks, error) {
	hs := hooks{known: map[string]hook{}, filler: []byte(randomID())}
	for _, c := range configured {
		h, err := newHook(c, o)
		if err != nil {
			return hooks{}, fmt.Errorf("set up hook %s: %w", c.Name, err)
		}
		if _, twice := hs.known[c.Name]; twice {
			return hooks{}, fmt.Errorf("set up hook %s: its name is taken by another hook", c.Name)
		}
		hs.known[c.Name] = h
		hs.all = append(hs.all, h)
	}
	return hs, nil
}

func newHook(c config.Hook, o Options) (hook, error) {
	provider, known := webhook.ByName(c.Provider)
	switch {
	case c.Name == "" || strings.Contains(c.Name, "/"):
		return hook{}, errors.New("its name is empty or has a slash")
	case !known:
		return hook{}, fmt.Errorf("provider %q is not one of those that Plumb knows", c.Provider)
	}
	h := hook{name: c.Name, provider: provider}
	for _, repo := range c.Repos {
		pattern, err := compile(repo)
		if err != nil {
			return hook{}, fmt.Errorf("read repos: %w", err)
		}
		h.repos = append(h.repos, pattern)
	}
	var err error
	h.secrets, err = openSecretFile(c.SecretFile, o.Log.With("hook", c.Name), o.Now)
	return h, err
}

// find returns the hook of that name, or a decoy in the image of another one.
func (hs hooks) find(name string) hook {
	if h, found := hs.known[name]; found {
		return h
	}
	if len(hs.all) == 0 {
		return hook{provider: webhook.Providers()[0]}
	}
	decoy := hs.all[0]
	decoy.name = ""
	return decoy
}

// authentic checks a request with as many secrets as the hook with the most
// has, so that the time it takes does not depend on the hook.
func (hs hooks) authentic(h hook, q webhook.Request) bool {
	var current [][]byte
	if h.secrets != nil {
		current = h.secrets.current()
	}
	tried := make([][]byte, hs.width())
	for i := range tried {
		tried[i] = hs.filler
	}
	if h.name != "" {
		copy(tried, current)
	}
	return h.provider.Authenticate(q, tried) && h.name != ""
}

func (hs hooks) width() int {
	most := 1
	for _, h := range hs.all {
		most = max(most, h.secrets.count())
	}
	return most
}

// admits reports whether the hook may speak of the repository or image.
func (h hook) admits(name string) bool {
	if len(h.repos) == 0 {
		return true
	}
	for _, pattern := range h.repos {
		if matches(pattern, name) {
			return true
		}
	}
	return false
}

// compile makes a pattern over canonical names of a repository URL, or of a
// name as in ghcr.io/acme/web. "*" stands for any part of one segment, "/**"
// at the end for everything below.
func compile(repo string) (string, error) {
	pattern := strings.ToLower(repo)
	if strings.Contains(repo, "://") || strings.Contains(repo, "@") {
		name, err := event.RepoName(repo)
		if err != nil {
			return "", err
		}
		pattern = name
	}
	host, rest, _ := strings.Cut(pattern, "/")
	bare := !strings.Contains(repo, "://") && host != "localhost" && !strings.ContainsAny(host, ".:")
	if rest == "" || bare {
		return "", fmt.Errorf("%q names no host; write it as in https://github.com/acme/* or ghcr.io/acme/*", pattern)
	}
	if strings.ContainsAny(pattern, `?[]\`) && !strings.HasPrefix(pattern, "[") || strings.Contains(strings.TrimSuffix(pattern, "/**"), "**") {
		return "", fmt.Errorf("%q has a wildcard other than * and /** at its end", pattern)
	}
	return pattern, nil
}

func matches(pattern, name string) bool {
	if below, deep := strings.CutSuffix(pattern, "/**"); deep {
		for end := range name {
			if name[end] == '/' && glob(below, name[:end]) {
				return true
			}
		}
		return false
	}
	return glob(pattern, name)
}

func glob(pattern, name string) bool {
	matched, err := path.Match(strings.ReplaceAll(pattern, "[", `\[`), name)
	return err == nil && matched
}
