import { ApiError } from '../../platform/errors.ts';
import { UpstreamFault } from '../fault.ts';

/** An agent that lost its tunnel is back within two seconds (docs/uplink.md): one pause, and the call goes through. */
const agentReturnSeconds = '2';

/** No machine is paired with the uplink, so the call was not made. */
export class UplinkOffline extends UpstreamFault {
  constructor() {
    super('offline', 'the uplink is not connected');
  }

  override toApiError(): ApiError {
    return new ApiError('uplink_offline', {
      retryable: true,
      headers: { 'retry-after': agentReturnSeconds },
    });
  }
}

/** Another process holds the tunnel, and calls do not travel between processes yet. */
export class UplinkElsewhere extends UpstreamFault {
  constructor() {
    super('offline', 'another process holds the tunnel of the uplink');
  }

  override toApiError(): ApiError {
    return new ApiError('uplink_elsewhere', { retryable: true });
  }
}

/** The tunnel ended before the answer came; the call may have run. */
export class UplinkLost extends UpstreamFault {
  constructor() {
    super('cut_off', 'the uplink was disconnected before it answered');
    this.notOnTheWay();
  }
}

/** As much waits to be sent through the tunnel as may; this was not sent. */
export class UplinkFull extends UpstreamFault {
  constructor() {
    super('busy', 'the uplink takes its messages too slowly');
  }

  override toApiError(): ApiError {
    return new ApiError('rate_limited', { message: 'The uplink takes its messages too slowly.' });
  }
}
