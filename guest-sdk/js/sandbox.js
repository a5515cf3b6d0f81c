// In the sandbox: what the host offers is the contract's imports. `crossdock plugin build` puts this before the plugin.

import * as clock from "crossdock:plugin/clock@0.1.0";
import * as http from "crossdock:plugin/http-client@0.1.0";
import * as log from "crossdock:plugin/log@0.1.0";
import * as metrics from "crossdock:plugin/metrics@0.1.0";
import * as random from "crossdock:plugin/random@0.1.0";
import * as tables from "crossdock:plugin/tables@0.1.0";
import { setOrigin } from "./fault.js";
import { host } from "./host.js";
import { resolver } from "./map.js";

Object.assign(host, { clock, http, log, metrics, random, tables });

// The map stands behind the plugin in the bundle.
let find;
setOrigin((...place) => (find ??= resolver(globalThis.crossdockMap))(...place));

const line = (level) => (...words) => log.write(level, words.map(String).join(" "));
globalThis.console ??= { trace: line("trace"), debug: line("debug"), log: line("info"), info: line("info"), warn: line("warn"), error: line("error") };
