import { useQuery } from "@tanstack/react-query";
import { Component, lazy, type ReactNode, Suspense } from "react";
import { Redirect, Route, Switch, useLocation } from "wouter";
import { LiveProvider } from "../api/live-provider";
import { queries } from "../api/queries";
import { ButtonLink, Empty, PageHead, Panel, ProblemCard } from "../ui/basics";
import { ToastProvider } from "../ui/toast";
import { DeadLettersPage } from "../jobs/dead-letters-page";
import { EndpointPage } from "../jobs/endpoint-page";
import { EndpointsPage } from "../jobs/endpoints-page";
import { JobPage } from "../jobs/job-page";
import { JobsPage } from "../jobs/jobs-page";
import { BreakersPage } from "../jobs/breakers-page";
import { SchedulePage } from "../jobs/schedule-page";
import { SchedulesPage } from "../jobs/schedules-page";
import { QueuesPage } from "../jobs/queues-page";
import { SagaPage } from "../sagas/saga-page";
import { SagaRunPage } from "../sagas/saga-run-page";
import { SagasPage } from "../sagas/sagas-page";
import { EventPage } from "../intake/event-page";
import { EventsPage } from "../intake/events-page";
import { ReceiptPage } from "../intake/receipt-page";
import { ReplaysPage } from "../intake/replays-page";
import { TimelinePage } from "../intake/timeline-page";
import { SourcePage } from "../intake/source-page";
import { SourcesPage } from "../intake/sources-page";
import { OverviewPage } from "../watch/overview-page";
import { Shell } from "./shell";

const SettingsPage = lazy(() => import("../access/settings-page").then((module) => ({ default: module.SettingsPage })));

export function App() {
  const [location] = useLocation();
  const session = useQuery(queries.session());
  // Whether there are several tenants decides which columns lists have: known before the first list, so that none grows one.
  const tenants = useQuery({ ...queries.tenants(), retry: false });
  // Refused means that the browser is on its way to the sign-in page: nothing flashes up before it leaves.
  if (session.isPending || (session.isSuccess && !tenants.isFetched)) return null;
  if (session.data === undefined) {
    return (
      <main style={{ maxWidth: 560, margin: "15vh auto 0", padding: 16 }}>
        <PageHead title="Mainstay" />
        <Panel label="Problem">
          <ProblemCard error={session.error} onRetry={() => void session.refetch()} />
        </Panel>
      </main>
    );
  }
  return (
    <LiveProvider>
      <ToastProvider>
        <Shell>
          <Broken key={location}>
            <Suspense fallback={null}>
              <Switch>
                <Route path="/" component={OverviewPage} />
                <Route path="/events" component={EventsPage} />
                <Route path="/events/:id">{({ id }) => <EventPage key={id} id={id} />}</Route>
                <Route path="/timeline" component={TimelinePage} />
                <Route path="/replays" component={ReplaysPage} />
                <Route path="/jobs" component={JobsPage} />
                <Route path="/queues" component={QueuesPage} />
                <Route path="/breakers" component={BreakersPage} />
                <Route path="/jobs/:id">{({ id }) => <JobPage key={id} id={id} />}</Route>
                <Route path="/dead-letters" component={DeadLettersPage} />
                <Route path="/schedules" component={SchedulesPage} />
                <Route path="/schedules/:id">{({ id }) => <SchedulePage key={id} id={id} />}</Route>
                <Route path="/sagas" component={SagasPage} />
                <Route path="/sagas/:id">{({ id }) => <SagaPage key={id} id={id} />}</Route>
                <Route path="/saga-runs/:id">{({ id }) => <SagaRunPage key={id} id={id} />}</Route>
                <Route path="/sources" component={SourcesPage} />
                <Route path="/sources/:id">{({ id }) => <SourcePage key={id} id={id} />}</Route>
                <Route path="/receipts/:id">{({ id }) => <ReceiptPage key={id} id={id} />}</Route>
                <Route path="/endpoints" component={EndpointsPage} />
                <Route path="/endpoints/:id">{({ id }) => <EndpointPage key={id} id={id} />}</Route>
                <Route path="/settings">
                  <Redirect to="/settings/users" replace />
                </Route>
                <Route path="/settings/:tab">{({ tab }) => <SettingsPage tab={tab} />}</Route>
                <Route>
                  <PageHead title="No such page" />
                  <Panel label="No such page">
                    <Empty icon="question" title="There is nothing at this address" actions={<ButtonLink href="/">To the overview</ButtonLink>}>
                      The link may be old, or its end is missing.
                    </Empty>
                  </Panel>
                </Route>
              </Switch>
            </Suspense>
          </Broken>
        </Shell>
      </ToastProvider>
    </LiveProvider>
  );
}

/** A defect of the page is said on the page, and the rest of it goes on. */
class Broken extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <Panel label="Problem">
        <ProblemCard error={this.state.error} what="This page broke" onRetry={() => location.reload()} />
      </Panel>
    );
  }
}
