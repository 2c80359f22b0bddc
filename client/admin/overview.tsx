// How the service is: a line of tiles, and the last minutes as plots.

import type { ComponentChildren } from "preact";
import { BarPlot } from "./bar-plot";
import { count, day, latency, rate, span } from "./figures";
import { LinePlot } from "./line-plot";
import { now } from "./watch";
import type { Status, Watch } from "./watch";
import { words } from "./words";

const DAY_S = 86_400;

/** From when on the end of the certificate is worth a colour. */
const SOON_S = 14 * DAY_S;

export function Overview({ watch }: { watch: Watch }) {
  const { latest, points } = watch;
  if (!latest) return <p class="quiet">{words.loading}</p>;
  const common = { points, now: now() };
  return (
    <>
      <Tiles status={latest.status} />
      <div class="plots">
        <LinePlot
          {...common} title={words.connections} format={count} least={2}
          series={[
            { name: words.connections, of: (point) => point.connections },
            { name: words.connectedUsers, of: (point) => point.users },
          ]}
        />
        <LinePlot
          {...common} title={words.messagesStored} format={rate} least={2}
          series={[{ name: words.perSecond, of: (point) => point.messages }]}
        />
        <LinePlot
          {...common} title={words.ackLatency} format={latency} least={0.001}
          series={[{ name: "p50", of: (point) => point.p50 }, { name: "p99", of: (point) => point.p99 }]}
        />
        <BarPlot {...common} title={words.refusedRequests} of={(point) => point.refused} />
        <BarPlot {...common} title={words.failedFrames} of={(point) => point.failed} />
        <BarPlot {...common} title={words.closedConnections} of={(point) => point.closed} />
      </div>
    </>
  );
}

function Tiles({ status }: { status: Status }) {
  const { store: { health, why }, certificate, notInForce } = status;
  const left = certificate?.secondsLeft ?? 0;
  return (
    <dl class="tiles">
      <Tile name={words.store} state={health === "ready" ? "good" : "bad"}>{words.health[health]}</Tile>
      {certificate
        ? (
          <Tile name={words.certificate} state={left <= 0 ? "bad" : left < SOON_S ? "warn" : "good"} note={words.until(day(certificate.until))}>
            {left <= 0 ? words.over : span(left > DAY_S ? left - left % DAY_S : left)}
          </Tile>
        )
        : <Tile name={words.certificate} note={words.noTls}>–</Tile>}
      <Tile
        name={words.files} state={notInForce.length ? "warn" : "good"}
        note={notInForce.length ? words.refusedFiles(notInForce.join(", ")) : ""}
      >
        {notInForce.length ? words.notInForce : words.inForce}
      </Tile>
      <Tile name={words.stored} note={words.sinceStart}>{count(status.messages.stored)}</Tile>
      <Tile name={words.uptime} note={`imserver ${status.version}`}>{span(status.uptimeSeconds)}</Tile>
      {why && <div class="tile wide bad"><dt>{words.storeSays}</dt><dd>{why}</dd></div>}
    </dl>
  );
}

function Tile({ name, state = "", note = "", children }: {
  name: string; state?: string; note?: string; children: ComponentChildren;
}) {
  return (
    <div class={`tile ${state}`}>
      <dt>{name}</dt>
      <dd>{children}</dd>
      {note && <dd class="quiet">{note}</dd>}
    </div>
  );
}
