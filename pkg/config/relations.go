package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
)

// relations checks what several values say together.
func (c *Config) relations(r *reader) {
	unique(r, "receiver.hooks", c.Receiver.Hooks, func(h Hook) string { return h.Name })
	unique(r, "alerter.channels", c.Alerter.Channels, func(ch Channel) string { return ch.Name })
	c.destinations(r)
	c.chains(r)
	for i, cred := range c.Git.Credentials {
		c.secure(r, fmt.Sprintf("git.credentials[%d].prefix", i), cred.Prefix)
		c.secure(r, fmt.Sprintf("git.credentials[%d].githubApp.api", i), cred.GitHubApp.API)
	}
	for i, source := range c.Git.Sources {
		c.secure(r, fmt.Sprintf("git.sources[%d].prefix", i), source.Prefix)
	}
}

func unique[T any](r *reader, key string, items []T, nameOf func(T) string) {
	seen := map[string]bool{}
	for i, item := range items {
		n := nameOf(item)
		if n != "" && seen[n] {
			r.refuse(r.seen(fmt.Sprintf("%s[%d].name", key, i)), "%q is taken already; choose another name", n)
		}
		seen[n] = true
	}
}

// destinations refuses routes to channels that are not there.
func (c *Config) destinations(r *reader) {
	known := map[string]bool{"": true}
	for _, ch := range c.Alerter.Channels {
		known[ch.Name] = true
	}
	for i, route := range c.Alerter.Routes {
		for j, to := range route.To {
			if !known[to] {
				r.refuse(r.seen(fmt.Sprintf("alerter.routes[%d].to[%d]", i, j)), "no channel is named %q; add it to alerter.channels", to)
			}
		}
	}
}

// chains refuses aliases of aliases: one look-up has to be enough.
func (c *Config) chains(r *reader) {
	for _, alias := range slices.Sorted(maps.Keys(c.Git.Aliases)) {
		own := c.Git.Aliases[alias]
		if _, chained := c.Git.Aliases[own]; chained {
			r.refuse(r.seen("git.aliases."+alias), "%q is an alias itself; write the name that it stands for", own)
		}
	}
}

// secure refuses http for hosts that are not insecureHosts.
func (c *Config) secure(r *reader, key, prefix string) {
	u, err := url.Parse(prefix)
	if err == nil && u.Scheme == "http" && !slices.Contains(c.Git.InsecureHosts, u.Hostname()) {
		r.refuse(r.seen(key), "http is for hosts in git.insecureHosts only; add %q there or use https", u.Hostname())
	}
}
