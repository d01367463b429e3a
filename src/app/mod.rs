//! Assembly: start and stop order of a whole appliance.
