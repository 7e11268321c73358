package checks

import (
	"context"
	"net/url"
)

func bearerHeaders(t Token) map[string]string {
	headers := map[string]string{"Accept": "application/json"}
	if t != "" {
		headers["Authorization"] = "Bearer " + string(t)
	}
	return headers
}

func githubHeaders(t Token) map[string]string {
	headers := bearerHeaders(t)
	headers["Accept"], headers["X-GitHub-Api-Version"] = "application/vnd.github+json", "2022-11-28"
	return headers
}

func giteaHeaders(t Token) map[string]string {
	headers := bearerHeaders("")
	if t != "" {
		headers["Authorization"] = "token " + string(t)
	}
	return headers
}

// github reads the combined status, which has the newest of each context, and the
// newest check runs: GitHub REST API, "Get the combined status for a specific
// reference" and "List check runs for a Git reference".
func github(ctx context.Context, a *asking, sha string) error {
	commit := "/repos/" + a.host.escaped() + "/commits/" + sha
	type combined struct {
		Statuses []struct{ Context, State string }
	}
	err := a.pages(ctx, commit+"/status", url.Values{"per_page": {"100"}}, func(body []byte) error {
		return decode(body, func(c combined) {
			for _, s := range c.Statuses {
				a.see(s.Context, githubState(s.State))
			}
		})
	})
	if err != nil {
		return err
	}
	type runs struct {
		CheckRuns []struct{ Name, Status, Conclusion string } `json:"check_runs"`
	}
	return a.pages(ctx, commit+"/check-runs", url.Values{"per_page": {"100"}, "filter": {"latest"}}, func(body []byte) error {
		return decode(body, func(r runs) {
			for _, run := range r.CheckRuns {
				a.see(run.Name, concluded(run.Status, run.Conclusion))
			}
		})
	})
}

// githubState is pending for what is not known: it lets nothing through.
func githubState(state string) State {
	switch state {
	case "success":
		return Green
	case "failure", "error":
		return Failed
	}
	return Pending
}

// concluded is the state of a check run. Neutral and skipped pass, as they do for
// GitHub's own required checks; stale, cancelled, timed_out, action_required and
// startup_failure do not.
func concluded(status, conclusion string) State {
	switch {
	case status != "completed":
		return Pending
	case conclusion == "success", conclusion == "neutral", conclusion == "skipped":
		return Green
	}
	return Failed
}

// gitlab reads the newest status of each name: GitLab REST API, "List the statuses
// of a commit".
func gitlab(ctx context.Context, a *asking, sha string) error {
	type status struct{ Name, Status string }
	where := "/projects/" + url.PathEscape(a.host.repo) + "/repository/commits/" + sha + "/statuses"
	return a.pages(ctx, where, url.Values{"per_page": {"100"}}, func(body []byte) error {
		return decode(body, func(list []status) {
			for _, s := range list {
				a.see(s.Name, gitlabState(s.Status))
			}
		})
	})
}

// gitlabState: skipped jobs count as in GitLab's "pipelines must succeed", which
// they do not hold back; manual ones wait for a person.
func gitlabState(status string) State {
	switch status {
	case "success", "skipped":
		return Green
	case "failed", "canceled", "canceling":
		return Failed
	}
	return Pending
}

// gitea reads all statuses, of which the newest of each context counts: Gitea API,
// "Get a commit's statuses".
func gitea(ctx context.Context, a *asking, sha string) error {
	type status struct {
		ID              int64
		Context, Status string
	}
	newest := map[string]status{}
	where := "/repos/" + a.host.escaped() + "/commits/" + sha + "/statuses"
	err := a.pages(ctx, where, url.Values{"limit": {"50"}}, func(body []byte) error {
		return decode(body, func(list []status) {
			for _, s := range list {
				if s.ID >= newest[s.Context].ID {
					newest[s.Context] = s
				}
			}
		})
	})
	for name, s := range newest {
		a.see(name, giteaState(s.Status))
	}
	return err
}

func giteaState(status string) State {
	switch status {
	case "success", "warning", "skipped":
		return Green
	case "failure", "error":
		return Failed
	}
	return Pending
}
